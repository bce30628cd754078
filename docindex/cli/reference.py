"""The page docs/cli.md, written from the commands themselves: `python -m docindex.cli.reference docs/cli.md`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from .app import app

_BEFORE = """\
# The command line

<!-- Written by `python -m docindex.cli.reference docs/cli.md`, from the same texts as `docindex --help`. -->

`pip install 'docindex-hnsw[cli]'` installs the command `docindex`. It needs no Python class: what a directory says of
its documents is enough to read, filter, search and delete them, and mostly also to store some. (The same in Python is
`open_index(DIR)`.) Where a class has code of its own, validators say, storing documents needs `--schema module:Class`.

```sh
docindex info packages                                       # the schema, how much there is, the settings
docindex find packages --text 'chess game' --limit 3         # by words
docindex find packages --like gnome-chess --field embedding  # by the vector of a document
docindex find packages --like gnome-chess --field embedding --text chess   # by both
docindex filter packages '{"section": "games", "size": {"$lt": 100000}}' --sort size
docindex filter packages '{"section": "games"}' --all | jq -r .description
docindex export packages - --filter '{"section": "games"}' | docindex index games - --schema shop:Package
```

On a terminal documents are tables, and a single one is a tree. On a pipe they are JSON lines: `get` and `filter` write
documents as `docindex index` reads them, `find` writes `{"score": 0.27, "document": {...}}`. `--json` and `--table` say
which, wherever it goes. Whatever takes long shows a bar on a terminal, with the rate and the time that is left. Ctrl-C
leaves every directory sound, as `kill -9` does.

| exit code | meaning |
| --- | --- |
| 0 | done, and sound |
| 1 | something is damaged, does not fit, is not there or was left out |
| 2 | the directory cannot be used, or the command makes no sense |
| 130 | interrupted |

An error is one line on standard error, which begins with `docindex:` and says what to do.

## Without the class, in Python

```python
from docindex import BaseDoc, Field, HnswDocumentIndex, NdArray, open_index


class Film(BaseDoc):
    title: str
    year: int = Field(2026, ge=1888)
    embedding: NdArray[3]


with HnswDocumentIndex[Film](work_dir='films') as index:
    index.index({'id': '7', 'title': 'Boats', 'embedding': [1, 2, 3]})

with open_index('films') as index:
    print(index['7'])  # id='7' title='Boats' year=2026 embedding=array([1., 2., 3.])
    assert index.find([1, 2, 3], filter={'year': {'$gt': 2000}}).documents.id == ['7']
    index.index({'id': '8', 'title': 'Ships', 'embedding': [3, 2, 1]})  # year=1 would be refused
```

A directory describes the class of its documents: fields, types, constraints, defaults, enumerations, dataclasses, the
documents in it. `open_index` makes a class of that. What such a description cannot hold, in `docindex info` under
`unknown`, is code of yours, a `default_factory` of your own, and types that neither pydantic nor docindex has. Then
documents can be found, read and deleted, but none can be stored without the class, and values of such types come back
as what stands in their JSON. So it is in directories from before the description was kept, until they are opened for
writing with their class once. Whatever is done without the class, the directory opens with it as if nothing had been.
"""


def reference() -> str:
    """Return the page, as Markdown."""
    group: Any = get_command(app)
    pages = ['\n'.join(_command(name, command)) for name, command in group.commands.items()]
    return '\n'.join([_BEFORE, *pages])


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [param for param in command.params if param.param_type_name == 'argument']
    options = [param for param in command.params if param.param_type_name == 'option']
    yield f'## docindex {name}\n'
    yield f'```text\ndocindex {" ".join([name, *map(_placed, arguments), "[OPTIONS]"])}\n```\n'
    yield f'{inspect.cleandoc(command.help)}\n'
    yield '| | |\n| --- | --- |'
    for param in [*arguments, *options]:
        yield f'| {_named(param)} | {_text(param)} |'
    yield ''


def _placed(argument: Any) -> str:
    return str(argument.metavar) if argument.required else f'[{argument.metavar}]'


def _named(param: Any) -> str:
    if param.param_type_name == 'argument':
        return f'`{param.metavar}`'
    value = f' {param.metavar}' if param.metavar else ''
    names = [*sorted(param.opts, key=len, reverse=True), *param.secondary_opts]
    return ', '.join(f'`{name}{value if name.startswith("--") else ""}`' for name in names)


def _text(param: Any) -> str:
    text = param.help.replace('|', '\\|')
    has_default = param.param_type_name == 'option' and param.default not in (None, '', False, 0)
    return f'{text} Default: {param.default}.' if has_default else text


if __name__ == '__main__':
    Path(sys.argv[1]).write_text(reference())
