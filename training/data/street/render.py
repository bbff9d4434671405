"""Draws a street: one GL context per process, two passes per frame (colour; segment ids with depth)."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("LP_NUM_THREADS", "1")

import mujoco
import numpy as np

from panoptic_ros.core import PanopticError
from training.data.street import labels
from training.data.street.builder import FILL, HIDDEN, VISIBLE, Builder
from training.data.street.scene import Street, pose_bodies
from training.data.street.weather import Weather

NEAR_M, FAR_M = 0.3, 320.0
CULL_M = 130.0
SMALL_PX = 2.0
"""Geoms whose bounding sphere appears smaller than this are not drawn."""
_context: list[object] = []


def gl_context() -> None:
    """Make this process' EGL context current. Raises PanopticError when there is none to be had."""
    if not _context:
        try:
            from mujoco.egl import GLContext

            _context.append(GLContext(64, 64))
        except Exception as error:
            raise PanopticError(
                f"cannot open an EGL context for off-screen rendering ({error}): install the Debian packages libegl1, "
                "libgl1-mesa-dri and libgles2"
            ) from error
    _context[0].make_current()


class Painter:
    """Renders one street at (height, width) pixels."""

    def __init__(self, street: Street, weather: Weather, size: tuple[int, int]) -> None:
        gl_context()
        self._street, self._size = street, size
        _finish(street, weather, size)
        builder = street.builder
        self._model = builder.spec.compile()
        self._data = mujoco.MjData(self._model)
        self._objects = np.full(self._model.ngeom, -1)
        for geom, owner in builder.owners:
            self._objects[geom.id] = owner
        self._whole = np.array([c >= labels.PERSON or c == labels.FENCE for c in builder.categories])
        self._groups = self._model.geom_group.copy()
        self._camera = self._model.body("camera").mocapid[0]
        self._sun = self._model.body("sun").mocapid[0]
        self._scene = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + 50)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = weather.shadows
        self._scene.flags[mujoco.mjtRndFlag.mjRND_HAZE] = False
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._gl = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._gl)
        self._gl.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._view = mujoco.MjvCamera()
        self._view.type, self._view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        self.rotation = np.eye(3)

    def close(self) -> None:
        """Free the GL objects."""
        self._gl.free()

    def paint(self, time: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns RGB (H, W, 3) uint8, object index (H, W) int (-1 sky), depth (H, W) float32 metres (0 sky)."""
        pose_bodies(self._street, self._model, self._data, time)
        self._aim(time)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._cull()
        colors, depth = self._pass(fill=True, ids=True)
        # MuJoCo numbers what it draws from 1, 0 is the sky
        drawn = np.append(np.flatnonzero(self._model.geom_group != HIDDEN), -1)
        geoms = drawn[(colors.astype(np.int32) @ np.array([1, 256, 65536])) - 1]
        objects = np.where(geoms >= 0, self._objects[geoms], -1)
        self._cull_occluded(geoms, objects)
        rgb = self._pass(fill=False, ids=False)[0]
        metres = NEAR_M * FAR_M / (NEAR_M + depth * (FAR_M - NEAR_M))
        return rgb, objects, np.where(geoms >= 0, metres, 0).astype(np.float32)

    def _cull_occluded(self, geoms: np.ndarray, objects: np.ndarray) -> None:
        """Hide what the id pass did not see, but for parts of seen things and near casters of shadows. geoms, objects: (H, W)."""
        seen = np.zeros(self._model.ngeom, bool)
        seen[np.unique(geoms[geoms >= 0])] = True
        visible = np.zeros(len(self._whole) + 1, bool)
        visible[np.unique(objects)] = True
        keep = seen | (visible[self._objects] & self._whole[self._objects])
        if self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW]:
            away = np.linalg.norm(self._data.geom_xpos - self._data.mocap_pos[self._camera], axis=1)
            keep |= (away < 30) & (self._model.geom_rbound > 0.25)
        self._model.geom_group[~keep] = HIDDEN

    def _aim(self, time: float) -> None:
        """Place the camera (looks along its -z, up y) and the sun above it."""
        ego, road = self._street.ego, self._street.road
        s, t = ego.path(time)
        x, y, heading = road.pose(s, t)
        (_, ta), (sb, tb) = ego.path(time - 0.1), ego.path(time + 0.1)
        drift = np.arctan2(tb - ta, 0.2 * 8.0) if sb - s > 0.05 else 0.0
        yaw = heading + ego.yaw(time) + drift
        nod, roll = ego.jitter(time)
        pitch = ego.pitch + nod
        forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
        right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        up = np.cross(right, forward)
        right, up = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right
        self.rotation = np.column_stack([right, -up, forward])
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, np.column_stack([right, up, -forward]).ravel())
        self._data.mocap_pos[self._camera] = x, y, ego.height_m
        self._data.mocap_quat[self._camera] = quat
        ahead = road.pose(s + 22, 0)
        self._data.mocap_pos[self._sun] = ahead[0], ahead[1], 0

    def _cull(self) -> None:
        """Hide the geoms outside the view: MuJoCo draws every one it is given."""
        offset = self._data.geom_xpos - self._data.mocap_pos[self._camera]
        across, _, ahead = (offset @ self.rotation).T
        reach = self._model.geom_rbound + 0.5
        half = np.tan(np.deg2rad(self._street.ego.fovy_deg) / 2) * self._size[1] / self._size[0]
        side = (np.abs(across) - half * np.maximum(ahead, 0)) / np.hypot(1, half)
        focal = self._size[1] / 2 / half
        side[self._model.geom_rbound * focal * 2 < SMALL_PX * np.maximum(ahead, 1)] = np.inf
        hidden = (ahead < -reach) | (side > reach + 6) | (ahead - reach > CULL_M)
        self._model.geom_group[:] = np.where(hidden, HIDDEN, self._groups)

    def _pass(self, fill: bool, ids: bool) -> tuple[np.ndarray, np.ndarray]:
        """Draw once. Returns RGB (H, W, 3) uint8 and the depth buffer (H, W) float32, top row first."""
        option = mujoco.MjvOption()
        option.geomgroup[:] = 0
        option.geomgroup[VISIBLE], option.geomgroup[FILL] = 1, int(fill)
        mujoco.mjv_updateScene(self._model, self._data, option, None, self._view, mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = ids
        self._scene.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = ids
        height, width = self._size
        rect = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(rect, self._scene, self._gl)
        rgb = np.empty((height, width, 3), np.uint8)
        depth = np.empty((height, width), np.float32) if ids else None
        mujoco.mjr_readPixels(rgb, depth, rect, self._gl)
        return rgb[::-1], depth[::-1] if ids else np.empty(0)


def _finish(street: Street, weather: Weather, size: tuple[int, int]) -> None:
    """Camera, sun, ambient light, a plain sky and the render settings."""
    spec = street.builder.spec
    world, visual = spec.worldbody, spec.visual
    world.add_body(name="camera", mocap=True).add_camera(name="camera", fovy=street.ego.fovy_deg)
    sun = world.add_body(name="sun", mocap=True)
    sun.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=-40 * weather.sun_direction,
        dir=weather.sun_direction,
        diffuse=weather.sun,
        specular=[0.4] * 3,
        ambient=[0.0] * 3,
        castshadow=weather.shadows,
    )
    sun.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        dir=[0.3, 0.3, -0.9],
        diffuse=weather.fill,
        specular=[0.0] * 3,
        ambient=weather.ambient,
        castshadow=False,
    )
    visual.headlight.active = 0
    visual.global_.offheight, visual.global_.offwidth = size
    visual.quality.offsamples = 4
    visual.quality.numslices, visual.quality.numstacks, visual.quality.numquads = 14, 8, 1
    visual.quality.shadowsize = 2048
    spec.stat.extent = 1.0
    spec.stat.center = [0.0, 0.0, 0.0]
    visual.map.znear, visual.map.zfar, visual.map.shadowclip = NEAR_M, FAR_M, 35.0
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=weather.haze / 255,
        rgb2=weather.haze / 255,
        width=8,
        height=48,
    )


def segments(objects: np.ndarray, builder: Builder, min_area: float) -> tuple[np.ndarray, dict[int, int]]:
    """Object indices (H, W; -1 sky) -> segment ids (H, W) int32 and category of each; segments below `min_area` px are void."""
    number: dict[int, int] = {}
    values = []
    for category in builder.categories:
        number[category] = number.get(category, 0) + 1
        values.append(labels.segment_id(category, number[category]))
    ids = np.array([*values, labels.SKY], np.int32)[objects]
    present, areas = np.unique(ids, return_counts=True)
    for small in present[areas < min_area]:
        ids[ids == small] = labels.VOID
    kept = [int(v) for v in present[areas >= min_area] if v != labels.VOID]
    return ids, {v: v // 1000 if v >= 1000 else v for v in kept}
