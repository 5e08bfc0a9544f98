# SPDX-License-Identifier: Apache-2.0
"""Our reader of ``config.pbtxt`` against Google's, on configurations made at random."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import descriptor, json_format, text_format
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Reader

FieldDescriptor = descriptor.FieldDescriptor

# The first test builds the reader.
pytestmark = pytest.mark.timeout(900)

common_settings = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}


def scalars(field: Any) -> st.SearchStrategy[Any]:
    """Draw a value for a field that is no message."""
    kind = field.cpp_type
    if kind in INTEGERS:
        return st.one_of(st.integers(0, 9), INTEGERS[kind])
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        # Triton's JSON, by which we compare, has no negative zero: 0 takes its place here.
        width = 32 if kind == FieldDescriptor.CPPTYPE_FLOAT else 64
        return st.floats(width=width, allow_nan=False).map(lambda value: value or 0.0)
    assert kind == FieldDescriptor.CPPTYPE_STRING
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def is_map(field: Any) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


@st.composite
def messages(draw: st.DrawFn, message_type: Any) -> Any:
    """Draw a message with a random choice of its fields."""
    message = message_type()
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if draw(st.integers(0, 2)) == 0 or (oneof and message.WhichOneof(oneof.name)):
            continue
        if is_map(field):
            entry = field.message_type.fields_by_name
            for key in draw(st.sets(scalars(entry["key"]), max_size=2)):
                container = getattr(message, field.name)
                if entry["value"].message_type:
                    value_type = entry["value"].message_type._concrete_class
                    container[key].CopyFrom(draw(messages(value_type)))
                else:
                    container[key] = draw(scalars(entry["value"]))
        elif field.message_type:
            inner = messages(field.message_type._concrete_class)
            if field.is_repeated:
                getattr(message, field.name).extend(draw(st.lists(inner, max_size=2)))
            else:
                getattr(message, field.name).CopyFrom(draw(inner))
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(scalars(field), max_size=3)))
        else:
            setattr(message, field.name, draw(scalars(field)))
    return message


def as_google_writes(message: Any, text: str) -> str:
    """Write a message as Google's printer does, in one of its styles."""
    return str(
        text_format.MessageToString(
            message,
            as_utf8="\N{SNOWMAN}" in text or len(text) % 2 == 0,
            as_one_line=len(text) % 3 == 0,
            use_short_repeated_primitives=len(text) % 5 < 3,
            pointy_brackets=len(text) % 7 < 3,
            use_index_order=len(text) % 11 < 5,
        )
    )


def read_by_google(document: str) -> Any:
    try:
        return text_format.Parse(document, pb.ModelConfig())
    except (UnicodeDecodeError, DeprecationWarning) as error:
        # Python warns of an unknown escape; protobuf in C++, and so Triton, refuses it.
        raise text_format.ParseError(str(error)) from error


def from_json(shown: str) -> Any:
    return json_format.Parse(shown or "{}", pb.ModelConfig())


def check_same(read_text: Reader, document: str, expected: Any) -> None:
    [(status, shown)] = read_text([document])
    assert status == "ok", f"{shown}\n{document}"
    assert from_json(shown) == expected, document


@common_settings
@given(message=messages(pb.ModelConfig), style=st.text(max_size=60))
def test_what_google_writes_is_read_alike(read_text: Reader, message: Any, style: str) -> None:
    check_same(read_text, as_google_writes(message, style), message)


BLANKS = [" ", "\n", "\t", "\r\n", " # it's { a: comment\n", "\n\n  "]


class Writer:
    """Writes text format in every form that Google's Python reader takes."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def pick(self, *forms: str) -> str:
        return self._draw(st.sampled_from(forms))

    def blank(self) -> str:
        return self.pick(*BLANKS)

    def fields(self, message: Any) -> str:
        return "".join(self.field(field, value) for field, value in message.ListFields())

    def field(self, field: Any, value: Any) -> str:
        if is_map(field):
            return self.repeated(field, [self.entry(field, key, value[key]) for key in value])
        if field.is_repeated:
            return self.repeated(field, [self.value(field, item) for item in value])
        return self.single(field, self.value(field, value))

    def repeated(self, field: Any, values: list[str]) -> str:
        if self.pick("one by one", "list") == "list":
            parts = f"{self.blank()},{self.blank()}".join(values)
            return self.single(field, f"[{self.blank()}{parts}{self.blank()}]")
        return "".join(self.single(field, value) for value in values)

    def single(self, field: Any, value: str) -> str:
        colon = self.pick(":", " :", " ") if field.message_type else self.pick(":", " :", ":  ")
        separator = self.pick("", ",", ";", " ;")
        return f"{field.name}{colon}{self.blank()}{value}{separator}{self.blank()}"

    def entry(self, field: Any, key: Any, value: Any) -> str:
        entry = field.message_type.fields_by_name
        fields = [(entry["key"], key), (entry["value"], value)]
        if self.pick("key first", "value first") == "value first":
            fields.reverse()
        return self.braces("".join(self.single(f, self.value(f, v)) for f, v in fields))

    def braces(self, fields: str) -> str:
        return self.pick(f"{{{fields}}}", f"<{fields}>", f"{{ {fields} }}")

    def value(self, field: Any, value: Any) -> str:
        if field.message_type:
            return self.braces(self.fields(value))
        kind = field.cpp_type
        if kind in INTEGERS:
            return self.integer(value)
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return self.pick("true", "True", "t", "1") if value else self.pick("false", "f", "0")
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return self.pick(field.enum_type.values_by_number[value].name, f"{value}", hex(value))
        if kind == FieldDescriptor.CPPTYPE_STRING:
            return self.string(value)
        return self.float(value)

    def integer(self, value: int) -> str:
        sign = "-" if value < 0 else ""
        return sign + self.pick(f"{abs(value)}", f"0x{abs(value):x}", f"0{abs(value):o}")

    def float(self, value: float) -> str:
        if math.isinf(value):
            sign = "-" if value < 0 else ""
            return sign + self.pick("inf", "infinity", "Infinity", "INF")
        forms = [repr(value), f"{value:.17e}", f"{value:.17E}f"]
        if value == int(value) and abs(value) < 1e9:
            forms += [f"{int(value)}", f"{int(value)}.", f"{int(value)}f"]
        return self.pick(*forms)

    def string(self, value: str) -> str:
        quote = self.pick('"', "'")
        parts = [self.character(character, quote) for character in value]
        return quote + self.pick("", f"{quote}{self.blank()}{quote}").join(parts) + quote

    def character(self, character: str, quote: str) -> str:
        octal = "".join(f"\\{byte:03o}" for byte in character.encode())
        hexadecimal = "".join(f"\\x{byte:02x}" for byte in character.encode())
        forms = [octal, hexadecimal]
        if 0xA0 <= ord(character) < 0x10000:
            forms.append(f"\\u{ord(character):04x}")
        if ord(character) >= 0xA0:
            forms.append(f"\\U{ord(character):08x}")
        if character.isprintable() and character not in ("\\", quote):
            forms.append(character)
        named = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "'": "\\'", "\\": "\\\\"}
        forms += [named[character]] if character in named else []
        return self.pick(*forms)


@common_settings
@given(data=st.data(), message=messages(pb.ModelConfig))
def test_every_form_is_read_alike(read_text: Reader, data: st.DataObject, message: Any) -> None:
    document = Writer(data.draw).fields(message)
    assert read_by_google(document) == message, "the test writes legal text"
    check_same(read_text, document, message)


PIECES = [
    *"{}<>[]:,;#'\"-.0179",
    *[" ", "\n", "\\", "\\n", "name", "max_batch_size", "input", "dims", "true", "TYPE_FP32"],
    *["0x1F", "1e5", "1.5f", "nan", "key", "value", "unknown_field", "dynamic_batching {}"],
]


# The format's definition and C++ take a blank after a minus sign, and octal and hexadecimal numbers
# for enums and booleans; Google's Python does not.
ONLY_IN_CPP = re.compile(r"-[\s#]|:\s*-?0[0-7xX]")
# Python's own numbers: a plus sign, digits parted by underscores, more than one suffix.
ONLY_IN_PYTHON = re.compile(r"(?<![eE])\+|\d_|[fF]{2}|(inf|nan)\w*[fF]", re.IGNORECASE)


@st.composite
def damaged_texts(draw: st.DrawFn) -> str:
    """Draw a legal text with a few pieces cut out or put in."""
    text = as_google_writes(draw(messages(pb.ModelConfig)), draw(st.text(max_size=20)))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 4)))
        text = text[:start] + draw(st.sampled_from([*PIECES, ""])) + text[end:]
    return text


@settings(common_settings, max_examples=150)
@given(document=damaged_texts())
@example("input [ { name: 'a' }, ]")
@example("dims: 1")
@example("name: 'a' name: 'b'")
@example("max_batch_size: 0 max_batch_size: 4")
@example("dynamic_batching {} sequence_batching {}")
@example("optimization {} optimization {}")
@example("name: 'a',; max_batch_size: 1")
@example("instance_group { kind: 77 }")
@example("metric_tags { key: 'a' key: 'b' }")
def test_what_google_refuses_is_refused_and_the_rest_read_alike(
    read_text: Reader, document: str
) -> None:
    if "\0" in document or "\ufeff" in document:
        return
    [(status, shown)] = read_text([document])
    try:
        expected = read_by_google(document)
    except text_format.ParseError:
        assert status == "error" or ONLY_IN_CPP.search(document), f"{shown}\n{document}"
        return
    if status == "ok":
        ours, theirs = from_json(shown), expected
        assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(
            deterministic=True
        ), document
    else:
        assert ONLY_IN_PYTHON.search(document), f"{shown}\n{document}"


@common_settings
@given(message=messages(pb.ModelConfig))
def test_canonical_json_has_the_fields_google_prints(read_text: Reader, message: Any) -> None:
    [(_, shown)] = read_text([text_format.MessageToString(message)])
    expected = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    if message.ByteSize() == 0:
        assert shown == ""
    else:
        assert structure(json.loads(shown)) == structure(expected)


def structure(value: Any) -> Any:
    """Keep the names of fields and keys and the lengths of lists."""
    if isinstance(value, dict):
        return {key: structure(item) for key, item in value.items()}
    if isinstance(value, list):
        return [structure(item) for item in value]
    return None


def test_the_example_repository_is_read_alike(read_text: Reader, model_repository: Path) -> None:
    files = sorted(model_repository.glob("*/config.pbtxt"))
    assert len(files) >= 5
    documents = [file.read_text() for file in files]
    for document, (status, shown) in zip(documents, read_text(documents), strict=True):
        assert status == "ok", shown
        assert from_json(shown) == read_by_google(document)
