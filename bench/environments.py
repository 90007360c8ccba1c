"""Virtual environments of what the service is compared with, made once under `bench/.environments`; installs nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HOME = Path(__file__).parent / ".environments"
INSTALL_SECONDS = 600

PACKAGES = {
    "original": ("fastapi", "httpx", "uvicorn[standard]"),
    "litellm": ("litellm[proxy]",),
}


def environment(name: str) -> Path | None:
    """Return the folder of an environment's programs; None, after a word, where it cannot be made."""
    folder = HOME / name
    if not installed(name):
        print(f"installing {', '.join(PACKAGES[name])} into {folder.relative_to(HOME.parent.parent)} …", flush=True)
        try:
            _run([sys.executable, "-m", "venv", "--clear", str(folder)])
            _run([str(folder / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *PACKAGES[name]])
        except (OSError, subprocess.SubprocessError) as error:
            print(f"it cannot be had here ({type(error).__name__}), so the comparison with it is left out", flush=True)
            return None
        (folder / "ready").touch()
    return folder / "bin"


def installed(name: str) -> bool:
    return (HOME / name / "ready").is_file()


def versions(name: str, packages: Sequence[str]) -> dict[str, str]:
    """Return the installed versions of packages in an environment."""
    code = "import importlib.metadata as m, sys; print(*(m.version(name) for name in sys.argv[1:]))"
    output = subprocess.run(
        [str(HOME / name / "bin/python"), "-c", code, *packages], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    return dict(zip(packages, output.split(), strict=True))


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, timeout=INSTALL_SECONDS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
