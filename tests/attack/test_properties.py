"""Readers and configuration under whatever hypothesis thinks of: a result, or an error of ours in one line."""

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attack.conftest import times
from distiller.config import Run, Task, load_yaml, parse_run, to_yaml
from distiller.errors import ConfigError, DistillerError
from distiller.tasks import load_task
from distiller.tasks.new_texts import Form, piped_texts, read_new_texts
from distiller.tasks.readers import READERS

SOME = settings(
    max_examples=times(60, 5000),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
ENDINGS = [*READERS, ".conll", ".csv.gz", ".jsonl.xz"]

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
ODD = ["", "0", "1.0", "nan", '"', "a,b", "[0.2, 0.8]", "['x']", "\t"]
cells = st.one_of(st.text(max_size=10), st.sampled_from(ODD))
lines = st.lists(st.lists(cells, max_size=4).map(",".join), max_size=8).map("\n".join)
contents = st.one_of(
    st.binary(max_size=200),
    lines.map(lambda text: ("text,label\n" + text).encode("utf-8", "surrogatepass")),
    values.map(lambda value: repr(value).encode("utf-8", "surrogatepass")),
    st.lists(st.dictionaries(st.sampled_from(["text", "label", "x"]), values, max_size=3), max_size=4).map(
        lambda rows: "\n".join(map(json.dumps, rows)).encode()
    ),
)


def one_line(error: DistillerError) -> None:
    assert "\n" not in error.message
    assert "Traceback" not in error.message


def tried(action: Any) -> Any:
    """What `action` gives; `None` after an error of ours, which is one line. Any other error is a fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return action()
        except DistillerError as error:
            one_line(error)
            return None


@SOME
@given(content=contents, ending=st.sampled_from(ENDINGS), skip_bad=st.booleans())
def test_any_file_is_data_or_an_error(content: bytes, ending: str, skip_bad: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"data{ending}"
        path.write_bytes(content)
        data = tried(lambda: load_task(Task(train=str(path), skip_bad=skip_bad)))
        if data is not None:
            assert all(len(split) for split in data.splits.values())
        for tagging in (False, True):
            form = Form.of(None, skip_bad=skip_bad)
            found = tried(lambda tagging=tagging, form=form: read_new_texts(path, form, tagging=tagging))
            if found is not None:
                assert found.words is None or len(found.words) == len(found.table)


@SOME
@given(data=st.binary(max_size=100), tagging=st.booleans())
def test_any_input_is_lines_or_an_error(data: bytes, tagging: bool) -> None:
    tried(lambda: piped_texts(data, Form.of(None), tagging=tagging))


NAMES = [*Run.model_fields, *(f"task.{name}" for name in Task.model_fields), "teacher.model", "x.y", "seeds.0"]
FIELDS = st.sampled_from(NAMES)


@SOME
@given(field=FIELDS, value=st.one_of(values.map(repr), st.text(max_size=20)))
def test_any_override_is_a_run_or_an_error(field: str, value: str) -> None:
    made = tried(lambda: parse_run({"task": {"train": "a.csv"}}, [f"{field}={value}"]))
    if made is not None:
        unequal = any(number != number for number in numbers(made.model_dump()))
        assert unequal or parse_run(load_yaml(to_yaml(made))) == made


def numbers(value: Any) -> list[float]:
    """Every number in some data."""
    if isinstance(value, dict):
        return [one for inner in value.values() for one in numbers(inner)]
    if isinstance(value, list):
        return [one for inner in value for one in numbers(inner)]
    return [value] if isinstance(value, float) else []


@SOME
@given(data=st.dictionaries(FIELDS.map(lambda name: name.split(".")[0]), values, max_size=4))
def test_any_run_is_a_run_or_an_error(data: dict[str, Any]) -> None:
    tried(lambda: parse_run(data))


@SOME
@given(text=st.text(max_size=80))
def test_any_yaml_is_data_or_an_error(text: str) -> None:
    said = ""
    try:
        load_yaml(text)
    except ValueError as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize("text", ["a: " + "[" * 50_000, "&a [" + "*a," * 10 + "]", "x: !!python/object:os.system {}"])
def test_yaml_that_is_meant_to_harm_is_refused_at_once(text: str) -> None:
    with pytest.raises((ValueError, DistillerError)):
        parse_run({"task": load_yaml(text)})


@pytest.mark.parametrize(
    "said", ["no host 'T@here'", 'host name "E@T@here" is unknown', "postgresql://bob:a:b/c@d@here/x"]
)
def test_what_a_driver_repeats_of_a_password_is_concealed(said: str) -> None:
    shown = ConfigError(f"first\nsecond: {said}").message
    assert "\n" not in shown
    assert "here" in shown
    assert not {"T@", "E@", "a:b", "c@"} & {part for part in ("T@", "E@", "a:b", "c@") if part in shown}
