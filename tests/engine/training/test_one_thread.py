import pytest
import torch

from draw_poly.engine.training.one_thread import one_thread


def test_torch_has_its_threads_again_afterwards() -> None:
    torch.set_num_threads(3)
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with pytest.raises(ValueError, match="within"), one_thread():
        raise ValueError("within")
    assert torch.get_num_threads() == 3
