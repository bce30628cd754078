"""A virtual environment for each library, made once in the cache, with the versions that are pinned here."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = {
    # DocArray 0.41 needs what was there in 2025: numpy 1, and some packages that it imports without asking for them.
    'docarray': [
        'docarray==0.41.0',
        'hnswlib==0.8.0',
        'numpy==1.26.4',
        'protobuf==7.36.2',
        'pydantic==2.14.3',
    ],
    'chroma': ['chromadb==1.5.9', 'numpy==2.4.6'],
    'lancedb': ['lancedb==0.40.0', 'pyarrow==26.0.1', 'numpy==2.4.6'],
    'zvec': ['zvec==0.8.0', 'numpy==2.4.6'],
    'qdrant': ['qdrant-client==1.20.0', 'numpy==2.4.6'],
    'sqlite-vec': ['sqlite-vec==0.1.9', 'pysqlite3-binary==0.5.4.post2', 'numpy==2.4.6'],
}
"""By engine. docindex and the floor run with the Python that runs the benchmark."""


def python_of(engine: str, directory: Path) -> Path:
    """Return the Python that has the library of an engine; makes the environment if it is not there yet."""
    if engine not in REQUIREMENTS:
        return Path(sys.executable)
    pins = REQUIREMENTS[engine]
    key = hashlib.sha256('\n'.join([sys.version, *pins]).encode()).hexdigest()[:8]
    home = directory / f'{engine}-{key}'
    python = home / ('Scripts/python.exe' if sys.platform == 'win32' else 'bin/python')
    done = home / 'complete'
    if not done.exists():
        print(f'making {home}: {", ".join(pins)}', flush=True)
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, '-m', 'pip', 'install', '-qq', *pins], check=True)
        done.touch()
    return python
