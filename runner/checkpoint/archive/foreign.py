"""Files of other kinds that people take for a checkpoint: each refused by its name, with what can be done with it."""

from pathlib import Path

from runner.errors import CheckpointRefused

_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."  # the magic number of torch before 1.6, pickled
_KNOWN = {
    b"\x80": "a bare pickle, which can run code when it is opened",
    b"<": "a page of text",
    b"version https://git-lfs": "a git-lfs pointer, not the file itself",
    b"\xff\xd8\xff": "a picture",
    b"\x89PNG": "a picture",
    b"\x1f\x8b": "a gzip archive",
}


def check_known(path: Path, head: bytes) -> None:
    """Return unless a file begins like one of a kind that people mistake for a checkpoint."""
    if head.startswith(_LEGACY):
        raise CheckpointRefused(
            f"{path} has the form that torch.save wrote before torch 1.6, which has no checksums; write it anew with "
            f"torch.save(torch.load({str(path)!r}, weights_only=True), 'NEW.pt')"
        )
    for magic, what in _KNOWN.items():
        if head.startswith(magic):
            raise CheckpointRefused(f"{path} is not a checkpoint but {what}; name a file that torch.save wrote")
    if head[257:262] == b"ustar":
        raise CheckpointRefused(f"{path} is a tar archive; a checkpoint has the ending .tar by convention only")
    if head[8:10] == b'{"':
        named = path.suffix == ".safetensors"
        way = f"use warm_start.path={path}" if named else "let its name end in .safetensors and use warm_start.path"
        raise CheckpointRefused(
            f"{path} is a safetensors file, weights and no checkpoint; to begin a new run with them, {way}"
        )
    if _is_text(head):
        raise CheckpointRefused(f"{path} is not a checkpoint but a text file; name a file that torch.save wrote")


def _is_text(head: bytes) -> bool:
    """Return whether these bytes can be read as lines; the beginning of an archive that was cut off is no text."""
    plain = all(byte >= 32 or byte in b"\t\n\r" for byte in head)
    return plain and not _ZIP.startswith(head[:4]) and len(head.decode("utf-8", "ignore").encode()) > len(head) - 4


def code_inside(path: Path, names: str = "") -> CheckpointRefused:
    """Return the refusal of a pickle with objects in it, and where the way out stands; it advises nobody to open it."""
    return CheckpointRefused(
        f"{path} is refused: it holds more than tensors and plain values{names}, and opening it could run "
        "somebody's code; nothing in it was executed; how weights are made of a whole module of your own, "
        "docs/warm-start.md says"
    )
