"""The node on a recording: `ros2 launch panoptic_ros replay.launch.py bag:=BAG`, and what camera.launch.py takes, but source."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    camera = PathJoinSubstitution([FindPackageShare("panoptic_ros"), "launch", "camera.launch.py"])
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="a rosbag2: its folder, or the .mcap or .db3 in it"),
            DeclareLaunchArgument("speed", default_value="1.0", description="times as fast"),
            DeclareLaunchArgument("bag_arguments", default_value="", description="more, such as '--bag-topic /front/image_raw'"),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(camera),
                launch_arguments={
                    "source": LaunchConfiguration("bag"),
                    "source_arguments": [
                        "--wait-for-subscriber --speed ",
                        LaunchConfiguration("speed"),
                        " ",
                        LaunchConfiguration("bag_arguments"),
                    ],  # fmt: skip
                }.items(),
            ),
        ]
    )
