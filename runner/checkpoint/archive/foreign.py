"""Refuse files of other kinds that are mistaken for checkpoints, each with a way out."""

from pathlib import Path

from runner.errors import CheckpointRefused

_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."  # the pickled magic number of torch before 1.6
_KNOWN = {
    b"\x80": "a bare pickle, which can run code when it is opened",
    b"<": "an HTML or XML page",
    b"version https://git-lfs": "a git-lfs pointer, not the file itself",
    b"\xff\xd8\xff": "a picture",
    b"\x89PNG": "a picture",
    b"\x1f\x8b": "a gzip archive",
}


def check_known(path: Path, head: bytes) -> None:
    """Raise CheckpointRefused for a file that starts like a known kind other than a checkpoint."""
    if head.startswith(_LEGACY):
        raise CheckpointRefused(
            f"{path} has the format of torch.save before torch 1.6, which has no checksums; rewrite it with "
            f"torch.save(torch.load({str(path)!r}, weights_only=True), 'NEW.pt')"
        )
    for magic, what in _KNOWN.items():
        if head.startswith(magic):
            raise CheckpointRefused(f"{path} is not a checkpoint but {what}; name a file that torch.save wrote")
    if head[257:262] == b"ustar":
        raise CheckpointRefused(
            f"{path} is a tar archive; a checkpoint is a zip archive, its ending .tar is only a convention"
        )
    if head[8:10] == b'{"':
        named = path.suffix == ".safetensors"
        way = f"use warm_start.path={path}" if named else "rename it to end in .safetensors and use warm_start.path"
        raise CheckpointRefused(
            f"{path} is a safetensors file: weights, not a checkpoint; to start a new run with them, {way}"
        )
    if _is_text(head):
        raise CheckpointRefused(f"{path} is not a checkpoint but a text file; name a file that torch.save wrote")


def _is_text(head: bytes) -> bool:
    """Return whether these bytes are lines of text; the start of a truncated archive is not."""
    plain = all(byte >= 32 or byte in b"\t\n\r" for byte in head)
    return plain and not _ZIP.startswith(head[:4]) and len(head.decode("utf-8", "ignore").encode()) > len(head) - 4


def code_inside(path: Path, names: str = "") -> CheckpointRefused:
    """Return the refusal of a pickle with objects in it; it names the page with the way out, never unsafe loading."""
    return CheckpointRefused(
        f"{path} is refused: it holds more than tensors and plain values{names}, and opening it could run code "
        "from the file; nothing was executed; to get the weights of a whole module of your own, see docs/warm-start.md"
    )
