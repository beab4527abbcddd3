"""The loss that is written over the logits."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the loss needs torch, which group 'train' installs")


def test_the_loss_and_its_gradient_are_those_of_torch() -> None:
    from lucie.training.loss import cross_entropy

    torch.manual_seed(1)
    logits, target = 4 * torch.randn(6, 5, 300), torch.randint(300, (6, 5))
    weight = torch.rand(6, 5)
    expected, found = (logits.clone().requires_grad_() for _ in range(2))
    theirs = torch.nn.functional.cross_entropy(expected.flatten(0, 1), target.flatten(), reduction="none").view(6, 5)
    ours = cross_entropy(found * 1, target)
    (theirs * weight).sum().backward()
    (ours * weight).sum().backward()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-6, atol=1e-7)


def test_the_gradient_lies_where_the_logits_were() -> None:
    from lucie.training.loss import cross_entropy

    weight = torch.randn(8, 300, requires_grad=True)
    logits = torch.randn(4, 8) @ weight
    places: list[int] = []
    logits.register_hook(lambda gradient: places.append(gradient.data_ptr()))
    cross_entropy(logits, torch.arange(4)).sum().backward()
    assert places == [logits.data_ptr()]
