"""mkdocs' hook: the project's own pages, with what they show, are taken from where they stand."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "*/README.md", "benches/results/*.md", "benches/*/*.png")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds them, by the same names as in a checkout, so that links between them hold."""
    for path in sorted(found for pattern in PAGES for found in ROOT.glob(pattern)):
        name = path.relative_to(ROOT).as_posix()
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files
