"""Linear algebra and Fourier transforms against NumPy's; their gradients numerically."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.testing import check_gradients

RNG = np.random.default_rng(11)
SQUARE = RNG.normal(size=(2, 3, 3)) + 2 * np.eye(3)
TALL, WIDE = RNG.normal(size=(2, 4, 3)), RNG.normal(size=(3, 4))
DEFINITE = SQUARE @ SQUARE.swapaxes(-1, -2)
COMPLEX = SQUARE[0] + 1j * SQUARE[1]


def close(found: Any, expected: Any) -> None:
    assert found.shape == np.shape(expected)
    assert found.dtype == np.asarray(expected).dtype
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["det", "inv", "cholesky", "eigvalsh", "svdvals", "pinv", "matrix_rank"]
)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_functions_of_one_matrix(name: str, dtype: str) -> None:
    x = DEFINITE.astype(dtype)
    close(getattr(fj.linalg, name)(x), getattr(np.linalg, name)(x))


def test_results_with_names() -> None:
    close(fj.linalg.slogdet(SQUARE).logabsdet, np.linalg.slogdet(SQUARE).logabsdet)
    for x in (SQUARE, TALL, WIDE, COMPLEX):
        for full in (True, False):
            u, s, vh = fj.linalg.svd(x, full_matrices=full)
            k = s.shape[-1]
            product = (u.numpy()[..., :k] * s.numpy()[..., None, :]) @ vh.numpy()[..., :k, :]
            np.testing.assert_allclose(product, x, atol=1e-12)
        q, r = fj.linalg.qr(x)
        np.testing.assert_allclose((q @ r).numpy(), x, atol=1e-12)
    assert fj.linalg.qr(TALL, mode="complete").Q.shape == (2, 4, 4)
    w, v = fj.linalg.eigh(DEFINITE)
    np.testing.assert_allclose((v * fj.expand_dims(w, -2) @ v.mT).numpy(), DEFINITE, atol=1e-9)
    w, v = fj.linalg.eig(SQUARE)
    np.testing.assert_allclose((SQUARE @ v).numpy(), (v * fj.expand_dims(w, -2)).numpy(), atol=1e-9)
    assert fj.linalg.eigvals(SQUARE).dtype == np.dtype("complex128")
    close(fj.linalg.cholesky(DEFINITE, upper=True), np.linalg.cholesky(DEFINITE, upper=True))


def test_solve_and_powers() -> None:
    close(fj.linalg.solve(SQUARE, TALL[0, :3]), np.linalg.solve(SQUARE, TALL[0, :3]))
    close(fj.linalg.solve(SQUARE[0], [1.0, 2.0, 3.0]), np.linalg.solve(SQUARE[0], [1.0, 2.0, 3.0]))
    for n in (-2, 0, 1, 5):
        close(fj.linalg.matrix_power(SQUARE, n), np.linalg.matrix_power(SQUARE, n))
    assert fj.linalg.inv([[2, 0], [0, 4]]).dtype == np.dtype("float64")


@pytest.mark.parametrize("order", [0, 1, 2, 3, 0.5, -1, np.inf, -np.inf])
def test_vector_norms(order: float) -> None:
    for axis in (None, 0, (0, 2)):
        for keepdims in (False, True):
            expected = np.linalg.vector_norm(TALL, axis=axis, ord=order, keepdims=keepdims)
            close(fj.linalg.vector_norm(TALL, axis=axis, ord=order, keepdims=keepdims), expected)


@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_matrix_norms(order: Any) -> None:
    for keepdims in (False, True):
        expected = np.linalg.matrix_norm(TALL, ord=order, keepdims=keepdims)
        close(fj.linalg.matrix_norm(TALL, ord=order, keepdims=keepdims), expected)
    expected = np.linalg.norm(TALL, order, (0, 2), True)
    close(fj.linalg.norm(TALL, order, (0, 2), keepdims=True), expected)


def test_norm_of_anything() -> None:
    close(fj.linalg.norm(TALL), np.linalg.norm(TALL))
    close(fj.linalg.norm(TALL, axis=1), np.linalg.norm(TALL, axis=1))
    close(fj.linalg.norm(TALL[0, 0], 3), np.linalg.norm(TALL[0, 0], 3))
    assert fj.linalg.vector_norm([3, 4]).item() == 5.0
    zero = fj.gradients_function(fj.linalg.vector_norm)([0.0, 0.0])
    assert zero[0].tolist() == [0.0, 0.0]


DERIVED: list[tuple[Callable[..., Any], Any]] = [
    (lambda x: fj.linalg.cholesky(x), DEFINITE),
    (lambda x: fj.linalg.eigvalsh(x) ** 2, DEFINITE),
    (lambda x: fj.abs(fj.linalg.eigh(x).eigenvectors), DEFINITE[0]),
    (lambda x: fj.linalg.slogdet(x).logabsdet, SQUARE),
    (lambda x: fj.linalg.pinv(x), TALL[0]),
    (lambda x: fj.linalg.svdvals(x), WIDE),
    (lambda x: fj.abs(fj.linalg.svd(x).U), SQUARE[0]),
    (lambda x: fj.linalg.matrix_power(x, -2), SQUARE[0]),
    (lambda x: fj.linalg.matrix_norm(x, ord="nuc"), TALL[0]),
    (lambda x: fj.linalg.vector_norm(x, ord=3), TALL[0]),
    (lambda x: fj.linalg.solve(x, x[:, 0]), SQUARE[0]),
    (lambda x: fj.abs(fj.linalg.qr(x).R), TALL),
]


@pytest.mark.parametrize(("f", "x"), DERIVED)
def test_gradients(f: Callable[..., Any], x: Any) -> None:
    check_gradients(f, x)


def test_gradients_that_do_not_exist_are_refused() -> None:
    for f, x in (
        (lambda x: fj.linalg.svd(x).U, TALL),
        (lambda x: fj.linalg.qr(x).R, WIDE),
        (lambda x: fj.linalg.cholesky(x), DEFINITE.astype(complex)),
    ):
        with pytest.raises(fj.GradientError, match="no gradient"):
            fj.gradients_function(lambda x, f=f: fj.abs(fj.sum(f(x))))(x)


@pytest.mark.parametrize("norm", ["backward", "forward", "ortho"])
@pytest.mark.parametrize("n", [None, 3, 8])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_transforms(name: str, n: int | None, norm: Any) -> None:
    x = TALL if name in ("rfft", "ihfft") else COMPLEX
    for axis in (0, -1):
        expected = getattr(np.fft, name)(x, n=n, axis=axis, norm=norm)
        close(getattr(fj.fft, name)(x, n=n, axis=axis, norm=norm), expected)


@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn"])
def test_transforms_of_several_axes(name: str) -> None:
    ours, numpys = getattr(fj.fft, name), getattr(np.fft, name)
    close(ours(TALL), numpys(TALL))
    close(ours(TALL, s=(5, 2), axes=(0, 1)), numpys(TALL, s=(5, 2), axes=(0, 1)))


def test_frequencies() -> None:
    for n in (1, 4, 5):
        close(fj.fft.fftfreq(n, d=0.5, dtype="float64"), np.fft.fftfreq(n, 0.5))
        close(fj.fft.rfftfreq(n, d=0.5, dtype="float64"), np.fft.rfftfreq(n, 0.5))
    close(fj.fft.fftshift(TALL), np.fft.fftshift(TALL))
    close(fj.fft.ifftshift(TALL, axes=1), np.fft.ifftshift(TALL, axes=1))
    assert fj.fft.fft([1.0]).dtype == np.dtype("complex64")
