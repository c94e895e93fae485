"""The worker's code as one zip that travels with the job to every TaskManager."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("profiles", "rules", "online_models", "flink_jobs")
_EPOCH = (2020, 1, 1, 0, 0, 0)


def package_code(directory: Path) -> Path:
    """Write `segue-<digest>.zip` into `directory` unless it is there; the same sources give the same bytes."""
    found = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    # What is built within a package (the operator's folder) is not of it.
    sources = sorted(
        path
        for path in found
        if all(
            (folder / "__init__.py").exists()
            for folder in path.parents
            if folder.is_relative_to(ROOT) and folder != ROOT
        )
    )
    digest = hashlib.blake2b(digest_size=8)
    for path in sources:
        digest.update(path.relative_to(ROOT).as_posix().encode())
        digest.update(path.read_bytes())
    target = directory / f"segue-{digest.hexdigest()}.zip"
    if not target.exists():
        directory.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sources:
                archive.writestr(zipfile.ZipInfo(path.relative_to(ROOT).as_posix(), _EPOCH), path.read_bytes())
        partial.replace(target)
    return target
