import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from mercer.arrays import as_tensor, broadcast_shapes, check_finite, generator, like


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64])
def test_a_tensor_of_real_or_complex_numbers_is_returned_as_it_is(dtype):
    X = torch.ones(2, dtype=dtype, requires_grad=True)
    assert as_tensor(X) is X


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "X",
    [[1, 0], [True, False], torch.tensor([1, 0]), *(np.array([1, 0], dtype=t) for t in ("i1", "u2", "u4", "u8", "?"))],
    ids=lambda X: f"{type(X).__name__}-{getattr(X, 'dtype', '')}",
)
def test_integers_and_booleans_take_the_default_type(X, default):
    torch.set_default_dtype(default)
    torch.testing.assert_close(as_tensor(X), torch.tensor([1, 0], dtype=default))  # types included
    assert as_tensor(X, dtype=torch.float16).dtype == torch.float16


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16"])
def test_an_array_keeps_its_type_and_shares_its_memory(dtype):
    array = np.ones((2, 3), dtype=dtype)
    as_tensor(array)[0, 0] = 7
    assert array[0, 0] == 7


def test_a_read_only_array_is_copied():
    array = np.zeros(3)
    array.flags.writeable = False
    as_tensor(array)[0] = 7
    assert array[0] == 0


@pytest.mark.parametrize(
    "array",
    [np.arange(6.0)[::-1], np.arange(6.0).astype(">f8")[::-1], np.arange(6.0, dtype=np.longdouble)[::-1]],
    ids=["reversed", "other byte order", "long double"],
)
def test_arrays_that_torch_cannot_view_are_converted(array):
    assert torch.equal(as_tensor(array), torch.arange(6.0, dtype=torch.float64).flip(0))


def test_a_single_number_and_a_list_of_tensors_are_accepted():
    assert as_tensor(2.5).shape == ()
    assert torch.equal(as_tensor([torch.ones(2), torch.zeros(2)]), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))


def test_a_frame_becomes_columns_and_missing_values_nan():
    frame = pd.DataFrame({"a": [1, 2], "b": pd.array([1, None], dtype="Int64"), "c": [True, False]})
    expected = torch.tensor([[1.0, 1.0, 1.0], [2.0, torch.nan, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(as_tensor(frame), expected, equal_nan=True)
    assert as_tensor(frame["a"]).shape == (2,)
    assert as_tensor(pd.DataFrame(index=range(3))).shape == (3, 0)


@pytest.mark.parametrize(
    ("column", "what"),
    [
        (["x", "y"], "is str .such as 'x'"),
        (pd.Categorical(["x", "y"]), "is category .such as 'x'"),
        (pd.to_datetime(["2026-01-01", "2026-01-02"]), "is datetime64.* .such as Timestamp"),
    ],
    ids=["text", "category", "date"],
)
def test_a_column_that_holds_no_numbers_is_named(column, what):
    with pytest.raises(TypeError, match=rf"column 'cut' must hold numbers, but {what}.*OneHotEncoder"):
        as_tensor(pd.DataFrame({"carat": [1.0, 2.0], "cut": column}))


def test_objects_that_are_numbers_are_accepted():
    array = np.array([[1, 2.5], [None, pd.NA]], dtype=object)
    expected = torch.tensor([[1.0, 2.5], [torch.nan, torch.nan]], dtype=torch.float64)
    torch.testing.assert_close(as_tensor(array), expected, equal_nan=True)


@pytest.mark.parametrize("value", ["3", b"3", {"a": 1}, [1, 2]], ids=repr)
def test_objects_that_are_no_numbers_are_named_by_place(value):
    array = np.empty((2, 3), dtype=object)
    array[:] = 1
    array[1, 2] = value
    with pytest.raises(TypeError, match=r"column 2, row 1 \(counted from 0\) holds"):
        as_tensor(array)
    with pytest.raises(TypeError, match=r"position 2 \(counted from 0\) holds"):
        as_tensor(array[1])


@pytest.mark.parametrize(
    ("X", "what"),
    [
        (["a", "b"], r"is <U1 \(such as 'a'\)"),
        (np.array([], dtype=str), r"is <U1 \(such as nothing\)"),
        (np.array(["2026-01-01"], dtype="datetime64[D]"), r"is datetime64\[D\] \(such as '2026-01-01'\)"),
        (scipy.sparse.eye(3), "X is a sparse matrix.*toarray"),
    ],
    ids=["text", "empty text", "date", "sparse"],
)
def test_what_holds_no_numbers_is_refused(X, what):
    with pytest.raises(TypeError, match=what):
        as_tensor(X)


def test_answers_come_back_in_the_kind_of_the_question():
    result = torch.ones(2, dtype=torch.float64, requires_grad=True)
    assert isinstance(like(result, [1.0]), np.ndarray)
    assert like(result, np.ones(1, dtype=np.float32)).dtype == np.float64
    assert like(result, torch.ones(1)).dtype == torch.float32
    assert like(result, torch.ones(1, dtype=torch.int64)).dtype == torch.float64
    assert like(result.bfloat16(), [1.0]).dtype == np.float32


def test_finite_numbers_pass_even_where_their_sum_is_not():
    check_finite(torch.full((4,), 3e38), "X")
    check_finite(torch.empty(0, 3), "X")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0.0, 0.0], [0.0, torch.nan]], "y contains NaN: 1 of 4 values, the first at row 1, column 1"),
        ([torch.inf, torch.nan], "y contains NaN and infinity: 2 of 2 values, the first at row 0 "),
        ([0.0, -torch.inf], "y contains infinity: 1 of 2 values, the first at row 1 "),
    ],
)
def test_values_that_are_not_finite_are_counted_and_placed(values, message):
    with pytest.raises(ValueError, match=message):
        check_finite(torch.tensor(values), "y")


@pytest.mark.parametrize("make", [lambda: 3, lambda: np.int64(3), np.random.default_rng, np.random.RandomState])
def test_the_same_random_state_gives_the_same_draw(make):
    states = [make() if make() == 3 else make(3) for _ in range(2)]
    first, second = (torch.rand(4, generator=generator(state)) for state in states)
    assert torch.equal(first, second)


def test_numpy_generators_move_on_and_torch_generators_are_used_themselves():
    numpy_state, torch_state = np.random.default_rng(0), torch.Generator()
    assert generator(numpy_state).initial_seed() != generator(numpy_state).initial_seed()
    assert generator(torch_state) is torch_state


def test_no_random_state_is_fresh_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    assert generator(None).initial_seed() != generator(None).initial_seed()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("state", [True, "0", 1.5], ids=repr)
def test_a_random_state_of_another_type_is_refused(state):
    with pytest.raises(TypeError, match="random_state must be an int, a torch or NumPy generator, or None, not"):
        generator(state)


def test_a_negative_random_state_is_refused():
    with pytest.raises(ValueError, match="random_state must be 0 or more, not -1"):
        generator(-1)


@pytest.mark.parametrize("shapes", [[], [()], [(2,), (3, 1)], [(1,), (0,)], [(), (4, 1, 2), (3, 1)], [(2, 3), (2, 3)]])
def test_shapes_broadcast_as_those_of_torch(shapes):
    assert broadcast_shapes(*shapes) == torch.broadcast_shapes(*shapes)
    assert isinstance(broadcast_shapes(*shapes), torch.Size)


@pytest.mark.parametrize("shapes", [[(2,), (3,)], [(0,), (2,)], [(2, 1), (3, 4)]])
def test_shapes_that_do_not_broadcast_are_refused_as_by_torch(shapes):
    for function in (torch.broadcast_shapes, broadcast_shapes):
        with pytest.raises(RuntimeError):
            function(*shapes)
