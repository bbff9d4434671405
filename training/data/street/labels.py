"""The label set: the 19 classes of Cityscapes with its official ids and colours; 24..33 are things."""

from panoptic_ros.core import Label

LABELS = (
    Label(7, "road", False, (128, 64, 128)),
    Label(8, "sidewalk", False, (244, 35, 232)),
    Label(11, "building", False, (70, 70, 70)),
    Label(12, "wall", False, (102, 102, 156)),
    Label(13, "fence", False, (190, 153, 153)),
    Label(17, "pole", False, (153, 153, 153)),
    Label(19, "traffic light", False, (250, 170, 30)),
    Label(20, "traffic sign", False, (220, 220, 0)),
    Label(21, "vegetation", False, (107, 142, 35)),
    Label(22, "terrain", False, (152, 251, 152)),
    Label(23, "sky", False, (70, 130, 180)),
    Label(24, "person", True, (220, 20, 60)),
    Label(25, "rider", True, (255, 0, 0)),
    Label(26, "car", True, (0, 0, 142)),
    Label(27, "truck", True, (0, 0, 70)),
    Label(28, "bus", True, (0, 60, 100)),
    Label(31, "train", True, (0, 80, 100)),
    Label(32, "motorcycle", True, (0, 0, 230)),
    Label(33, "bicycle", True, (119, 11, 32)),
)

VOID = 0
ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, LIGHT, SIGN, VEGETATION, TERRAIN, SKY = (label.id for label in LABELS[:11])
PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = (label.id for label in LABELS[11:])


def segment_id(category: int, instance: int) -> int:
    """Cityscapes' convention: category * 1000 + instance number for things (24 and up), the category for stuff."""
    return category * 1000 + instance if category >= PERSON else category
