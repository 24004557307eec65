"""JSON as it was written: numbers stay text, and what hides something is refused."""

import json
import re

from numbers_exact import Number, normal

DEEPEST = 128
SPACE = re.compile(r"[ \t\n\r]*")


class Unreadable(Exception):
    """The text isn't JSON, or JSON of a kind that nobody should build on."""


class NamedTwice(Unreadable):
    """An object names a member twice."""


def no_constant(text):
    raise Unreadable(f"{text} is no JSON")


def members_once(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NamedTwice("a member is named twice")
    return members


ONCE = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=no_constant, object_pairs_hook=members_once)


def depth_of(text):
    """How deep brackets nest. Texts that aren't JSON may get any answer."""
    depth = deepest = 0
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text, re.DOTALL):
        bracket = found.group()
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in "]}":
            depth -= 1
    return deepest


def read_record(text):
    """The value of a record. Raises Unreadable for all that makes a record malformed."""
    if depth_of(text) > DEEPEST:
        raise Unreadable("nests too deep")
    try:
        start = SPACE.match(text).end()
        value, end = ONCE.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error))
    if SPACE.match(text, end).end() != len(text):
        raise Unreadable("something follows the value")
    refuse_lone_surrogates(value)
    return value


def refuse_lone_surrogates(value):
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unreadable("a lone surrogate")
    elif isinstance(value, dict):
        for name, member in value.items():
            refuse_lone_surrogates(name)
            refuse_lone_surrogates(member)
    elif isinstance(value, list):
        for element in value:
            refuse_lone_surrogates(element)


def split_members(text):
    """The members of the object that is the whole text: name to the text of its value, as written."""
    position = SPACE.match(text).end()
    if text[position:position + 1] != "{":
        raise Unreadable("no object")
    position = SPACE.match(text, position + 1).end()
    members = {}
    while text[position:position + 1] != "}" or members:
        if text[position:position + 1] != '"':
            raise Unreadable("no member's name")
        name, position = json.decoder.scanstring(text, position + 1, True)
        position = SPACE.match(text, position).end()
        if text[position:position + 1] != ":":
            raise Unreadable("no colon")
        start = SPACE.match(text, position + 1).end()
        position = end_of_value(text, start)
        if name in members:
            raise NamedTwice(name)
        members[name] = text[start:position]
        position = SPACE.match(text, position).end()
        if text[position:position + 1] == "}":
            break
        if text[position:position + 1] != ",":
            raise Unreadable("no comma")
        position = SPACE.match(text, position + 1).end()
    if SPACE.match(text, position + 1).end() != len(text):
        raise Unreadable("something follows the object")
    return members


def end_of_value(text, start):
    """Where the JSON value that starts here ends, however deep it nests."""
    stack, position = [], start
    wants_value = True
    while True:
        here = text[position:position + 1]
        if wants_value and here in ("{", "["):
            stack.append(here)
            position = SPACE.match(text, position + 1).end()
            closing = "}" if here == "{" else "]"
            if text[position:position + 1] != closing:
                if here == "{":
                    position = end_of_name(text, position)
                continue
            stack.pop()
            position += 1
        elif wants_value:
            _, position = SCALAR.raw_decode(text, position)
        wants_value = False
        if not stack:
            return position
        position = SPACE.match(text, position).end()
        here = text[position:position + 1]
        if here == ",":
            position = SPACE.match(text, position + 1).end()
            if stack[-1] == "{":
                position = end_of_name(text, position)
            wants_value = True
        elif here == ("}" if stack[-1] == "{" else "]"):
            stack.pop()
            position += 1
        else:
            raise Unreadable("a bracket isn't closed")


SCALAR = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=no_constant)


def end_of_name(text, position):
    if text[position:position + 1] != '"':
        raise Unreadable("no member's name")
    _, position = json.decoder.scanstring(text, position + 1, True)
    position = SPACE.match(text, position).end()
    if text[position:position + 1] != ":":
        raise Unreadable("no colon")
    return SPACE.match(text, position + 1).end()


def canonical(value):
    """Equal for equal content: members in any order, numbers by value, `5` other than `"5"`."""
    if isinstance(value, Number):
        return ("number", normal(value))
    if isinstance(value, dict):
        return ("object", tuple(sorted((name, canonical(member)) for name, member in value.items())))
    if isinstance(value, list):
        return ("list", tuple(canonical(element) for element in value))
    return (type(value).__name__, value)
