"""Message ids for rows of files that bring none."""

from __future__ import annotations

from array import array
from hashlib import blake2b

_SMALLEST = 1 << 16


class RowIds:
    """Gives each row hash(content, how many equal rows came before in the file): the same file, the same ids.

    Remembers eight bytes a row in an open hash table, so that a file of ten million rows takes some 130 MB. Two rows
    whose eight bytes are equal by chance still get different ids, as those hash the whole content.
    """

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * _SMALLEST))
        self._filled = 0
        self._more: dict[int, int] = {}

    def of(self, content: bytes) -> str:
        """The id of the next row of the file."""
        digest = blake2b(content, digest_size=16)
        before = self._count(int.from_bytes(digest.digest()[:8], "big") or 1)
        if before:
            digest.update(before.to_bytes(8, "big"))
        return "row_" + digest.hexdigest()

    def _count(self, key: int) -> int:
        if self._add(key):
            if self._filled * 3 > len(self._table) * 2:
                self._grow()
            return 0
        before = self._more.get(key, 1)
        self._more[key] = before + 1
        return before

    def _add(self, key: int) -> bool:
        table, mask = self._table, len(self._table) - 1
        place = key & mask
        while found := table[place]:
            if found == key:
                return False
            place = (place + 1) & mask
        table[place] = key
        self._filled += 1
        return True

    def _grow(self) -> None:
        old = self._table
        self._table = array("Q", bytes(16 * len(old)))
        self._filled = 0
        for key in old:
            if key:
                self._add(key)
