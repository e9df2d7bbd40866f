"""Takes from a killed program's files what no sync had covered, as the cut of its machine's power would have.

The journal is what shims/powercut.c wrote. Its model of a disk, for each file with changes that no sync had covered:

- a truncation happened or did not, and what was written after it is there only if it did;
- the length is one of those it has had since;
- each sector of 512 bytes holds one of the contents it has had since.

Names (created, renamed, unlinked) that no sync of their directory had covered are kept up to one of them, in order.
"""
import os
import pathlib
import random
import struct

HEAD = struct.Struct("<c7xQQQQQQ")
SECTOR = 512


class Record:
    __slots__ = ("kind", "number", "inode", "offset", "size", "before", "after")

    def __init__(self, head, before, after):
        kind, self.number, self.inode, self.offset, self.size, _, _ = head
        self.kind, self.before, self.after = kind.decode(), before, after

    def names(self):
        return [os.fsdecode(part) for part in self.after.split(b"\0")[:3]]


def read(journal):
    """All records that are whole; the last may have been cut short by the kill, and then its change was not made."""
    records, position = [], 0
    data = pathlib.Path(journal).read_bytes()
    while position + HEAD.size <= len(data):
        head = HEAD.unpack_from(data, position)
        middle = position + HEAD.size
        end = middle + head[5] + head[6]
        if end > len(data):
            break
        records.append(Record(head, data[middle:middle + head[5]], data[middle + head[5]:end]))
        position = end
    return records


def uncovered(records):
    """Changes that no sync which succeeded had waited for."""
    last = {}
    for record in records:
        if record.kind in "SD":
            last[record.inode] = max(last.get(record.inode, 0), record.offset)
    return [r for r in records if r.kind not in "SD" and r.number > last.get(r.inode, 0)]


class File:
    """What one file may look like after the cut."""

    def __init__(self, length):
        self.epochs = [[length]]  # between two truncations: the lengths
        self.bases = {}           # sector → what it held before any of this
        self.writes = {}          # sector → [(epoch, content)]
        self.cuts = []            # lengths truncated to

    def latest(self, sector):
        past = self.writes.get(sector)
        return past[-1][1] if past else self.bases.get(sector, b"")

    def remember(self, record, start, end):
        for sector in range(start // SECTOR, (end + SECTOR - 1) // SECTOR):
            at = sector * SECTOR - start
            self.bases.setdefault(sector, record.before[at:at + SECTOR] if at < len(record.before) else b"")

    def write(self, record):
        start, end = record.offset, record.offset + len(record.after)
        first = start // SECTOR * SECTOR
        self.remember(record, first, end)
        for sector in range(first // SECTOR, (end + SECTOR - 1) // SECTOR):
            at = sector * SECTOR
            low, high = max(start, at), min(end, at + SECTOR)
            content = self.latest(sector).ljust(low - at, b"\0")
            content = content[:low - at] + record.after[low - start:high - start] + content[high - at:]
            self.writes.setdefault(sector, []).append((len(self.epochs) - 1, content))
        self.epochs[-1].append(max(self.epochs[-1][-1], end))

    def truncate(self, record):
        first = record.offset // SECTOR * SECTOR
        self.remember(record, first, max(record.size, first))
        self.epochs.append([record.offset])
        self.cuts.append(record.offset)
        for sector in list(self.bases):
            if (sector + 1) * SECTOR > record.offset:
                kept = self.latest(sector)[:max(0, record.offset - sector * SECTOR)]
                self.writes.setdefault(sector, []).append((len(self.epochs) - 1, kept))

    def choose(self, draw, path):
        """Writes one possible outcome; returns how many sectors differ from what was there."""
        mood = draw.choice(("all lost", "all kept", "torn", "torn"))
        if mood == "all kept":
            return 0
        epoch = 0 if mood == "all lost" else draw.randrange(len(self.epochs))
        length = self.epochs[epoch][0] if mood == "all lost" else draw.choice(self.epochs[epoch])
        changed = 0
        with open(path, "r+b") as file:
            for sector, base in sorted(self.bases.items()):
                at = sector * SECTOR
                file.seek(at)
                there = file.read(SECTOR)
                # Since the last truncation that reached it, a sector can't hold what it held before.
                since = max((e + 1 for e, cut in enumerate(self.cuts[:epoch]) if cut <= at), default=0)
                had = [content for e, content in self.writes.get(sector, ()) if since <= e <= epoch]
                options = ([] if since else [base]) + had
                content = options[0] if mood == "all lost" else draw.choice(options)
                content = content.ljust(min(SECTOR, max(0, length - at)), b"\0")[:max(0, length - at)]
                changed += content != there
                file.seek(at)
                file.write(content)
            file.truncate(length)
        return changed


def cut(directory, journal, seed):
    """Changes the files below `directory`; returns what it did, for the report."""
    directory = pathlib.Path(directory).resolve()
    graveyard = directory.parent / (directory.name + ".graveyard")
    draw = random.Random(seed)
    open_changes = uncovered(read(journal))
    files, names = {}, []
    for record in open_changes:
        if record.kind in "WT":
            file = files.setdefault(record.inode, None) or File(record.size)
            files[record.inode] = file
            file.write(record) if record.kind == "W" else file.truncate(record)
        else:
            names.append(record)
    paths = {}
    for root in (graveyard, directory):
        for path in root.rglob("*"):
            if path.is_file() and not path.is_symlink():
                paths[path.stat().st_ino] = path
    done = {"unsynced": len(open_changes), "files": {}, "names undone": []}
    for inode, file in sorted(files.items()):
        if inode in paths:  # else it is gone for good: unlinked by someone who was not watched
            done["files"][paths[inode].name] = file.choose(draw, paths[inode])
    kept = draw.randint(0, len(names))
    for record in reversed(names[kept:]):
        undo(record)
        done["names undone"].append(f"{record.kind} {os.path.basename(record.names()[0])}")
    for path in graveyard.glob("*"):
        path.unlink()
    os.truncate(journal, 0)
    return done


def undo(record):
    first, second, kept = record.names()
    if record.kind == "C" and os.path.exists(first):
        os.unlink(first)
    elif record.kind == "R" and os.path.exists(second):
        os.rename(second, first)
        if kept:
            os.rename(kept, second)
    elif record.kind == "U" and kept and not os.path.exists(first):
        os.rename(kept, first)
