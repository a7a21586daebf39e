"""Reading data: what is forgiven, and what the message says where nothing can be forgiven."""

from __future__ import annotations

import gzip
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digits.errors import UnreadableData
from digits.images import Floats, Images, Ints
from digits.reader import read_images
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

DATA = Path(__file__).parent.parent / "data"
#: Of digits.csv, as scikit-learn distributes it gzipped.
ORIGINAL_SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"

counts = st.integers(1, 6)
ids = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=8)


@st.composite
def tables(draw: st.DrawFn, *, whole: bool = False) -> tuple[list[str], Floats, Ints]:
    count = draw(counts)
    values = st.integers(0, 16) if whole else st.floats(0, 16)
    return (
        draw(st.lists(ids, min_size=count, max_size=count, unique=True)),
        draw(hnp.arrays(np.float64, (count, 64), elements=values)),
        draw(hnp.arrays(np.int64, count, elements=st.integers(0, 9))),
    )


def write_csv(columns: list[list[Any]], header: list[str] | None, delimiter: str = ",") -> bytes:
    def quoted(cell: object) -> str:
        text = str(cell)
        return '"' + text.replace('"', '""') + '"' if any(c in text for c in delimiter + '"') else text

    rows = [header] if header else []
    rows += [list(row) for row in zip(*columns, strict=True)]
    return "\n".join(delimiter.join(quoted(cell) for cell in row) for row in rows).encode()


def pixel_columns(pixels: Floats) -> list[list[Any]]:
    return [[repr(float(value)) for value in column] for column in pixels.T]


def read_bytes(content: bytes, folder: Path, name: str = "digits.csv") -> Any:
    (folder / name).write_bytes(content)
    return read_images(folder / name)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all examples of a property; each example overwrites the file of the one before."""
    return tmp_path_factory.mktemp("examples")


@given(tables(), st.sampled_from(",;\t|"), st.booleans(), st.booleans(), st.booleans(), st.data())
def test_a_table_with_a_header_is_read_whatever_the_order_of_its_columns(
    scratch: Path,
    table: tuple[list[str], Floats, Ints],
    delimiter: str,
    with_id: bool,
    with_label: bool,
    zipped: bool,
    data: st.DataObject,
) -> None:
    names, pixels, labels = table
    columns = {f"p{i}": column for i, column in enumerate(pixel_columns(pixels))}
    columns |= {"id": list(names)} if with_id else {}
    columns |= {"Label": labels.tolist()} if with_label else {}
    order = data.draw(st.permutations(sorted(columns)))
    content = write_csv([columns[name] for name in order], list(order), delimiter)
    images = read_bytes(gzip.compress(content) if zipped else content, scratch)
    assert images.ids == (tuple(names) if with_id else tuple(str(i) for i in range(len(names))))
    np.testing.assert_array_equal(images.pixels, pixels)
    np.testing.assert_array_equal(images.labels, labels if with_label else None)


@given(tables(whole=True), st.sampled_from(",;\t| "))
def test_a_table_without_a_header_is_read_by_the_number_of_its_columns(
    scratch: Path, table: tuple[list[str], Floats, Ints], delimiter: str
) -> None:
    names, pixels, labels = table
    plain = [column.astype(int).tolist() for column in pixels.T]
    tags = [f"x{i}" for i in range(len(names))]
    for columns, expected_ids, labelled in (
        (plain, None, False),
        ([*plain, labels.tolist()], None, True),
        ([tags, *plain], tags, False),
        ([tags, labels.tolist(), *plain], tags, True),
    ):
        images = read_bytes(write_csv(columns, None, delimiter), scratch)
        assert images.ids == tuple(expected_ids or (str(i) for i in range(len(names))))
        np.testing.assert_array_equal(images.pixels, pixels)
        np.testing.assert_array_equal(images.labels, labels if labelled else None)


@given(tables(), st.sampled_from(["images", "x", "X", "data"]), st.sampled_from(["labels", "y"]), st.booleans())
def test_an_npz_archive_is_read_in_either_shape(
    scratch: Path, table: tuple[list[str], Floats, Ints], pixel_name: str, label_name: str, square: bool
) -> None:
    names, pixels, labels = table
    buffer = io.BytesIO()
    shaped = pixels.reshape(-1, 8, 8) if square else pixels
    arrays: dict[str, Any] = {pixel_name: shaped, label_name: labels, "ids": np.array(names)}
    np.savez_compressed(buffer, **arrays)
    images = read_bytes(buffer.getvalue(), scratch, "named_wrongly.csv")
    assert images.ids == tuple(names)
    np.testing.assert_array_equal(images.pixels, pixels)
    np.testing.assert_array_equal(images.labels, labels)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_with_our_own_error_or_read(scratch: Path, content: bytes) -> None:
    refusal = ""
    try:
        shape = read_bytes(content, scratch).pixels.shape
    except UnreadableData as error:
        refusal = str(error)
    assert "digits.csv" in refusal if refusal else shape[1] == 64


def as_rows(images: Images) -> list[list[int]]:
    assert images.labels is not None
    rows: list[list[int]] = np.column_stack([images.pixels, images.labels]).astype(int).tolist()
    return rows


def test_the_data_is_the_original_divided_as_documented() -> None:
    train, test = read_images(DATA / "train.csv"), read_images(DATA / "test.csv")
    rows = dict(zip(train.ids + test.ids, as_rows(train) + as_rows(test), strict=True))
    assert set(rows) == {f"d{i:04d}" for i in range(1797)}
    original = "".join(",".join(map(str, rows[key])) + "\n" for key in sorted(rows))
    assert hashlib.sha256(original.encode()).hexdigest() == ORIGINAL_SHA256
    seen = dict.fromkeys(range(10), 0)
    for key in sorted(rows):
        seen[rows[key][-1]] += 1
        assert (key in test.ids) == (seen[rows[key][-1]] % 5 == 0)


GOOD = ",".join(["7"] * 64)
HEADER = "id,label," + ",".join(f"p{i}" for i in range(64))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        (HEADER, "no images below it"),
        (f"{GOOD}\n\n{GOOD},1", "line 3: it has 65 columns, but the first line has 64"),
        (f"{HEADER}\na,1,{GOOD}\nb,1,{GOOD[:-1]}x", r"line 3, column 66 \(p63\): 'x' is not a number"),
        (f"{HEADER}\na,1,{GOOD}\nb,1,17{GOOD[1:]}", r"line 3, column 3 \(p0\): the pixel is 17, and not in 0..16"),
        (f"{HEADER}\na,1,nan{GOOD[1:]}", "the pixel is nan"),
        (f"{HEADER}\na,,{GOOD}\nb,3,{GOOD}", r"line 2, column 2 \(label\): the label is ''"),
        (f"{HEADER}\na,10,{GOOD}", "the label is '10'; expected a digit"),
        (f"{HEADER}\na,1.5,{GOOD}", "the label is '1.5'; expected a digit"),
        (f"{HEADER}\na,1,{GOOD}\na,1,{GOOD}", "line 3: the id 'a' is also that of line 2"),
        (f"{GOOD},12", "its last column for the label was assumed"),
        ("id,label,p0,p1", "names 2 pixel, 1 id and 1 label columns"),
        ("1,2,3", "has 3 columns"),
        ("hello", "names 1 pixel"),
        (f'{HEADER}\n"' + "x" * 200_000, "field larger than field limit"),
    ],
)
def test_what_is_not_a_table_of_digits_is_refused_with_the_place(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(UnreadableData, match=expected):
        read_bytes(text.encode(), tmp_path)


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (npz(), r"has the arrays \(none\)"),
        (npz(pictures=np.zeros((2, 8, 8))), r"has the arrays pictures \(2, 8, 8\), but no images"),
        (npz(images=np.zeros((2, 28, 28))), r"of shape \(2, 28, 28\)"),
        (npz(images=np.zeros((0, 64))), r"of shape \(0, 64\)"),
        (npz(images=np.zeros(3)), r"of shape \(3,\)"),
        (npz(images=np.full((2, 64), 255)), "pixel 0 of image 0 .* is 255"),
        (npz(images=np.full((2, 64), "a")), "the images are <U1"),
        (npz(images=np.array([[None] * 64])), "cannot be read as npz: Object arrays"),
        (npz(images=np.zeros((2, 64)), labels=np.zeros(3)), "not one number for each of 2 images"),
        (npz(images=np.zeros((2, 64)), labels=np.array([1, 10])), r"label 1 \(from 0\) is 10"),
        (npz(images=np.zeros((2, 64)), ids=np.array(["a", "a"])), "a different id for each"),
        (npz(images=np.zeros((2, 64)))[:-30], "cannot be read as npz"),
        (gzip.compress(b"1,2", mtime=0)[:-4], "is damaged gzip"),
        (b"\x93NUMPY\x01\x00", "is a single array"),
        (b"\xff\xfe1\x00", "nor text in UTF-8"),
    ],
)
def test_what_is_not_an_archive_of_digits_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    with pytest.raises(UnreadableData, match=expected):
        read_bytes(content, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableData, match=r"There is no file or folder .*nowhere\.csv"):
        read_images(tmp_path / "nowhere.csv")


def test_a_folder_stands_for_the_one_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "numbers.CSV").write_text(GOOD)
    (tmp_path / "README.md").write_text("about the numbers")
    (tmp_path / ".numbers.csv.swp").write_text("hidden")
    assert len(read_images(tmp_path)) == 1


def test_in_a_folder_with_several_files_the_one_called_like_the_role_is_read() -> None:
    assert len(read_images(DATA, role="train")) == 1442
    assert len(read_images(DATA, role="test")) == 355
    with pytest.raises(UnreadableData, match=r"several files of images \(test.csv, train.csv\)"):
        read_images(DATA)


def test_in_a_folder_the_format_chooses_among_files(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(GOOD)
    (tmp_path / "train.npz").write_bytes(npz(images=np.zeros((2, 64))))
    assert len(read_images(tmp_path, role="train", file_format="NPZ")) == 2
    assert len(read_images(tmp_path, role="train", file_format="csv")) == 1
    with pytest.raises(UnreadableData, match="several files"):
        read_images(tmp_path, role="train", file_format="image")


def test_a_folder_without_images_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UnreadableData, match=r"holds no file that ends in \.csv"):
        read_images(tmp_path)


def test_comments_at_the_top_and_blank_lines_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    content = "\ufeff# written by hand\r\n\r\n" + HEADER + "\r\n#a, 3, " + GOOD + "\r\n  \r\n"
    images = read_bytes(content.encode(), tmp_path)
    assert images.ids == ("#a",)
    np.testing.assert_array_equal(images.labels, [3])


def test_a_label_column_that_is_empty_throughout_means_no_labels(tmp_path: Path) -> None:
    assert read_bytes(f"{HEADER}\na,,{GOOD}\nb,,{GOOD}".encode(), tmp_path).labels is None
