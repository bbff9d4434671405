"""A thin layer over MjSpec that remembers which object every geom belongs to."""

from dataclasses import dataclass, field

import mujoco
import numpy as np

from training.data.street.meshes import Mesh

Vec = tuple[float, float, float]
Color = tuple[float, float, float] | np.ndarray
VISIBLE, FILL, HIDDEN = 0, 3, 5
"""Geom groups: drawn in both passes, in the id pass only (fills spokes and railings, as annotators do), in none."""


@dataclass
class Part:
    """A body that geoms of one object are added to. `object`: index into `Builder.categories`; body frame: x forward, z up."""

    builder: "Builder"
    body: "mujoco.MjsBody"
    object: int

    def _geom(self, kind: "mujoco.mjtGeom", color: Color, material: str, fill: bool, **attributes: object) -> "mujoco.MjsGeom":
        geom = self.body.add_geom(type=kind, rgba=[*color, 1.0], contype=0, conaffinity=0, **attributes)
        geom.group = FILL if fill else VISIBLE
        if material:
            geom.material = material
        self.builder.owners.append((geom, self.object))
        return geom

    def box(
        self, pos: Vec, half: Vec, color: Color, material: str = "", quat: np.ndarray | None = None, fill: bool = False
    ) -> None:
        """half: half sizes along the axes."""
        extra = {} if quat is None else {"quat": quat}
        self._geom(mujoco.mjtGeom.mjGEOM_BOX, color, material, fill, pos=pos, size=half, **extra)

    def ellipsoid(self, pos: Vec, radii: Vec, color: Color, material: str = "") -> None:
        """radii along the axes."""
        self._geom(mujoco.mjtGeom.mjGEOM_ELLIPSOID, color, material, False, pos=pos, size=radii)

    def rod(
        self, start: Vec, end: Vec, radius: float, color: Color, material: str = "", fill: bool = False, flat: bool = False
    ) -> None:
        """A capsule (or cylinder when `flat`) between two points."""
        kind = mujoco.mjtGeom.mjGEOM_CYLINDER if flat else mujoco.mjtGeom.mjGEOM_CAPSULE
        self._geom(kind, color, material, fill, fromto=[*start, *end], size=[radius, 0, 0])

    def mesh(self, mesh: Mesh | str, color: Color, material: str = "", pos: Vec = (0, 0, 0)) -> None:
        """mesh: a new one, or the name of one that the builder holds."""
        name = mesh if isinstance(mesh, str) else self.builder.mesh(mesh)
        self._geom(mujoco.mjtGeom.mjGEOM_MESH, color, material, False, meshname=name, pos=pos)

    def limb(self, pos: Vec, joint: str) -> "Part":
        """A child that swings about its y axis through `pos`; `joint` names the angle."""
        body = self.body.add_body(pos=pos)
        body.add_joint(name=joint, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 1, 0])
        return Part(self.builder, body, self.object)


@dataclass
class Builder:
    """Collects a scene. categories: of every object; instances: its number within the category, 0 for stuff."""

    spec: "mujoco.MjSpec" = field(default_factory=mujoco.MjSpec)
    categories: list[int] = field(default_factory=list)
    owners: list[tuple["mujoco.MjsGeom", int]] = field(default_factory=list)
    stuff: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def name(self, prefix: str) -> str:
        """A fresh name."""
        self.count += 1
        return f"{prefix}{self.count}"

    def mesh(self, mesh: Mesh) -> str:
        """Add a mesh, open ones too; returns its name."""
        item = self.spec.add_mesh(name=self.name("mesh"), inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL)
        item.uservert = mesh.vertices.astype(np.float32).ravel()
        item.userface = mesh.faces.astype(np.int32).ravel()
        if mesh.uv is not None:
            item.usertexcoord = mesh.uv.astype(np.float32).ravel()
        return item.name

    def material(
        self, name: str, image: np.ndarray | None = None, tile_m: float = 0, cube: bool = False, shine: float = 0.0
    ) -> str:
        """image: (n, n, 3) uint8. tile_m: metres per repeat (0: mesh coordinates rule, or once over the geom)."""
        material = self.spec.add_material(name=name, specular=shine, shininess=0.6 if shine else 0.0)
        if image is not None:
            kind = mujoco.mjtTexture.mjTEXTURE_CUBE if cube else mujoco.mjtTexture.mjTEXTURE_2D
            pixels = np.concatenate([image] * 6) if cube else image
            texture = self.spec.add_texture(name=name, type=kind, width=pixels.shape[1], height=pixels.shape[0], nchannel=3)
            texture.data = np.ascontiguousarray(pixels).tobytes()
            slots = list(material.textures)
            slots[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
            material.textures = slots
            if tile_m:
                material.texuniform, material.texrepeat = True, [1 / tile_m, 1 / tile_m]
        return name

    def thing(self, category: int, name: str) -> Part:
        """A new object that moves: a mocap body called `name`."""
        self.categories.append(category)
        return Part(self, self.spec.worldbody.add_body(name=name, mocap=True), len(self.categories) - 1)

    def fixed(self, category: int, pos: Vec = (0, 0, 0), yaw: float = 0.0) -> Part:
        """Part of the one stuff object of `category`, placed in the world."""
        if category not in self.stuff:
            self.categories.append(category)
            self.stuff[category] = len(self.categories) - 1
        return Part(self, self.spec.worldbody.add_body(pos=pos, quat=yaw_quat(yaw)), self.stuff[category])


def yaw_quat(yaw: float) -> np.ndarray:
    """Rotation about z, (w, x, y, z)."""
    return np.array([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])


def roll_quat(angle: float) -> np.ndarray:
    """Rotation about x, (w, x, y, z)."""
    return np.array([np.cos(angle / 2), np.sin(angle / 2), 0, 0])
