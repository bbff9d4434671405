"""The types that everything speaks."""

import pickle

from panoptic_ros.core import PanopticError


def test_a_long_error_loses_its_middle() -> None:
    """The value that is wrong may be as long as a file; the legal ones stand behind it."""
    error = PanopticError(f"backend is '{'x' * 100_000}'; one of auto, openvino")
    assert len(str(error)) < 2100
    assert str(error).startswith("backend is 'xxx") and str(error).endswith("xxx'; one of auto, openvino")
    assert "... (98036 characters) ..." in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # `bench` hands it from process to process


def test_an_error_of_some_lines_is_whole() -> None:
    assert str(PanopticError("x" * 2100)) == "x" * 2100
