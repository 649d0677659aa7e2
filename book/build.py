"""The book and the playground, whole: python book/build.py FOLDER

MathJax and onnxruntime-web from npm (exact versions, see package-lock.json), the networks as ONNX,
Sphinx with warnings as errors, then every link looked up. What lies beside FOLDER (build/book-*) is
kept and used again where nothing changed.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import links
import sources

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
LARGEST = 40  # MB, of the whole site
NO_NPM = "npm is not installed: it brings MathJax and onnxruntime-web. Install Node.js 20 or newer."


def main(site: Path) -> None:
    """Builds everything into `site`.

    Exits with a sentence where something is missing, too large, or linked to nothing.
    """
    started = time.monotonic()
    if not shutil.which("npm"):
        sys.exit(NO_NPM)
    parts = {
        name: site.with_name(f"{site.name}-{name}")
        for name in ("npm", "models", "source", "static", "doctrees")
    }
    exporting = start_export(parts["models"])
    packages = npm(parts["npm"])
    static(parts["static"], packages / "mathjax" / "es5")
    sources.lay_out(parts["source"])
    shutil.rmtree(site, ignore_errors=True)
    sphinx = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        "-c",
        BOOK,
        "-d",
        parts["doctrees"],
    ]
    if subprocess.run([*sphinx, parts["source"], site], check=False).returncode:
        sys.exit("Sphinx has warnings; they are above.")
    if exporting and exporting.wait():
        sys.exit("The networks were not exported; the reason is above.")
    playground(site / "playground", packages / "onnxruntime-web" / "dist", parts["models"])
    for unused in [*site.rglob("*.map"), *site.rglob(".buildinfo")]:
        unused.unlink()
    broken = links.broken(site)
    if broken:
        sys.exit("\n".join(["Links that lead nowhere, or out:", *broken]))
    size = sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) / 1e6
    print(
        f"{site}: {len(list(site.rglob('*.html')))} pages, {size:.1f} MB, in "
        f"{time.monotonic() - started:.0f} s"
    )
    if size > LARGEST:
        sys.exit(f"That is more than {LARGEST} MB.")


def npm(place: Path) -> Path:
    """The folder of the npm packages, installed under `place` as package-lock.json says."""
    if not unchanged(place, [BOOK / "package.json", BOOK / "package-lock.json"]):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(BOOK / name, place / name)
        command = [
            shutil.which("npm"),
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ]
        if subprocess.run(command, cwd=place, check=False).returncode:
            sys.exit("npm did not bring the packages; its reason is above.")
        mark(place, [BOOK / "package.json", BOOK / "package-lock.json"])
    return place / "node_modules"


def start_export(place: Path) -> subprocess.Popen | None:
    """The export of the networks, running; None if nothing that they depend on has changed since
    the last one.
    """
    needs = [BOOK / "export.py", *sorted((ROOT / "minidiff" / "nets").glob("*.py"))]
    needs += [
        ROOT / "data" / "weights" / f"{name}.safetensors"
        for name in ("unet", "ddpm", "classifier", "evaluator")
    ]
    if unchanged(place, needs):
        return None
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # Sphinx has the other core
    return subprocess.Popen(
        [sys.executable, BOOK / "export.py", place, "--mark", digest(needs)], env=alone
    )


def static(place: Path, mathjax: Path) -> None:
    """The part of MathJax that the pages use: TeX in, HTML and its own fonts out."""
    shutil.rmtree(place, ignore_errors=True)
    kept = place / "mathjax"
    kept.mkdir(parents=True)
    shutil.copy(mathjax / "tex-mml-chtml.js", kept)
    for folder in ("output/chtml/fonts/woff-v2", "input/tex/extensions"):
        shutil.copytree(mathjax / folder, kept / folder)


def playground(place: Path, ort: Path, models: Path) -> None:
    """The page with the networks, and the part of onnxruntime-web that runs them."""
    shutil.copytree(BOOK / "playground", place)
    (place / "ort").mkdir()
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        shutil.copy(ort / name, place / "ort")
    shutil.copytree(models, place / "models", ignore=shutil.ignore_patterns("digest"))


def digest(files: list[Path]) -> str:
    """One number for the contents of all files."""
    return hashlib.sha256(
        b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)
    ).hexdigest()


def unchanged(place: Path, files: list[Path]) -> bool:
    """True if `place` was made from exactly these files; else it is empty afterwards."""
    note = place / "digest"
    if note.is_file() and note.read_text() == digest(files):
        return True
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return False


def mark(place: Path, files: list[Path]) -> None:
    """Notes what `place` was made from, for `unchanged`."""
    (place / "digest").write_text(digest(files))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("site", type=Path, help="the folder to build into")
    parser.add_argument(
        "--if-possible",
        action="store_true",
        help="without npm: say so and exit with 0, building nothing",
    )
    options = parser.parse_args()
    if options.if_possible and not shutil.which("npm"):
        print(f"The book is not built and its tests are skipped: {NO_NPM}")
    else:
        main(options.site.resolve())
