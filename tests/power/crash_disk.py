"""A disk on a real kernel whose power can be cut after the fact.

RecordingDisk: ext4 on a loop device over write_log_fuse's file, mounted. Whatever runs on it is recorded: writes,
zeroed ranges, flushes; position() is the number of entries so far.

WriteLog: the record. A power cut at position N leaves what the last flush before N covers, and of the later entries
before N any part, 512-byte sector by sector: image(N) builds such a disk. What was acknowledged at a position <= N
must be on it.

LoopMount: mounts such an image, as a machine does when it comes back.

Everything is undone by close(), also half-built; needs root, /dev/fuse and loop devices (missing() tells what is not there).
"""
import mmap
import os
import shutil
import struct
import subprocess

from daemon import BUILD, wait_until

FUSE_BINARY = os.path.join(BUILD, "tests", "power", "write_log_fuse")
SECTOR = 512
WRITE, ZERO, FLUSH = 1, 2, 3
HEADER = struct.Struct("<IIQQQ")  # struct log_entry


def run(*command, check=True):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}")
    return done


def missing(recording=True):
    """What these tests need and this machine lacks, as text; None if nothing. Only a recording disk needs FUSE."""
    if os.geteuid() != 0:
        return "needs root"
    for device in ["/dev/loop-control"] + recording * ["/dev/fuse"]:
        if not os.path.exists(device):
            return f"needs {device}"
    for tool in ("mkfs.ext4", "e2fsck", "losetup", "mount", "umount"):
        if not shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            return f"needs {tool}"
    if recording and not os.path.exists(FUSE_BINARY):
        return f"needs {FUSE_BINARY} (built where libfuse3-dev is installed)"
    return None


class LoopMount:
    """ext4 of a file, mounted through a loop device."""

    def __init__(self, file, folder):
        self.file, self.folder, self.device, self.mounted = file, folder, None, False
        self.repaired = False

    def attach(self):
        self.device = run("losetup", "--find", "--show", "--direct-io=on", self.file, check=False).stdout.strip()
        if not self.device.startswith("/dev/"):  # a file system below that has no direct I/O
            self.device = run("losetup", "--find", "--show", self.file).stdout.strip()

    def make(self):
        """Nothing lazy: the kernel's own background writes would only blur the record."""
        run("mkfs.ext4", "-q", "-J", "size=8", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", self.device)

    def mount(self):
        """A torn superblock is what e2fsck is for, as at any boot; everything else the journal must mend."""
        os.makedirs(self.folder, exist_ok=True)
        if run("mount", "-t", "ext4", self.device, self.folder, check=False).returncode != 0:
            run("e2fsck", "-p", self.device, check=False)
            run("mount", "-t", "ext4", self.device, self.folder)
            self.repaired = True
        self.mounted = True

    def close(self):
        """A killed process's last files are let go of a moment after its end: until then the unmount is refused."""
        if self.mounted:
            self.mounted = False
            unmount(self.folder)
        if self.device:
            run("losetup", "-d", self.device, check=False)
            wait_until(lambda: not run("losetup", "-j", self.file).stdout, 30, f"{self.device} is let go of")
            self.device = None


def unmount(folder):
    try:
        wait_until(lambda: run("umount", folder, check=False).returncode == 0, 30, f"{folder} is unmounted")
    except AssertionError:
        run("umount", "-l", folder, check=False)
        raise


class RecordingDisk:
    def __init__(self, folder, mount_point, size, hold_us=400):
        self.folder, self.size, self.hold_us = folder, size, hold_us
        self.fuse_folder = os.path.join(folder, "fuse")
        self.log_file = os.path.join(folder, "write_log")
        self.fuse, self.position_file = None, -1
        self.loop = LoopMount(os.path.join(self.fuse_folder, "disk"), mount_point)

    def open(self):
        os.makedirs(self.fuse_folder, exist_ok=True)
        self.fuse = subprocess.Popen([FUSE_BINARY, self.fuse_folder, self.log_file, str(self.size), str(self.hold_us)],
                                     stderr=subprocess.DEVNULL)
        wait_until(lambda: os.path.ismount(self.fuse_folder) or self.fuse.poll() is not None, 20, "the FUSE file is mounted")
        if self.fuse.poll() is not None:
            raise RuntimeError(f"write_log_fuse ended with {self.fuse.returncode}")
        self.position_file = os.open(os.path.join(self.fuse_folder, "position"), os.O_RDONLY)
        self.loop.attach()
        self.loop.make()
        self.loop.mount()
        return self

    def position(self):
        return int(os.pread(self.position_file, 32, 0))

    def close(self):
        """Ends the recording; the record stays."""
        try:
            self.loop.close()
        finally:
            if self.position_file >= 0:
                os.close(self.position_file)
                self.position_file = -1
            self._end_fuse()

    def _end_fuse(self):
        if self.fuse is None:
            return
        try:
            if self.fuse.poll() is None and os.path.ismount(self.fuse_folder):
                unmount(self.fuse_folder)
            self.fuse.wait(10)
        finally:
            self.fuse.kill()
            self.fuse.wait()
            self.fuse = None


class WriteLog:
    """The record, and the disks that it allows. Cuts go forward: image(N) with N not below the last one's."""

    def __init__(self, log_file, base_file, size):
        self.entries = []  # (kind, offset, length, place of the bytes or number of entries covered)
        self.applied = 0
        with open(log_file, "rb") as f:
            self.bytes = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        at = 0
        while at < len(self.bytes):
            kind, _, offset, length, covers = HEADER.unpack_from(self.bytes, at)
            at += HEADER.size
            self.entries.append((kind, offset, length, covers if kind == FLUSH else at))
            at += length if kind == WRITE else 0
        self.size = size
        self.base_file = base_file
        self.base = os.open(base_file, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.ftruncate(self.base, size)

    def close(self):
        os.close(self.base)
        self.bytes.close()

    def durable(self, cut):
        """The number of entries that are on the disk for sure when the power goes at `cut`."""
        return max((e[3] for e in self.entries[:cut] if e[0] == FLUSH), default=0)

    def _apply(self, fd, entry, first=0, end=None):
        kind, offset, length, place = entry
        end = length if end is None else min(end, length)
        if kind == WRITE:
            os.pwrite(fd, self.bytes[place + first:place + end], offset + first)
        elif kind == ZERO:
            at = first
            while at < end:
                step = min(end - at, 1 << 20)
                os.pwrite(fd, bytes(step), offset + at)
                at += step

    def _apply_torn(self, fd, entry, chance, rng):
        """Of each sector of its own the new bytes, or the old ones; neighbours are alike more often than not."""
        runs_of, at, length = rng.choice([1, 1, 8, 64]) * SECTOR, 0, entry[2]
        while at < length:
            if rng.random() < chance:
                self._apply(fd, entry, at, at + runs_of)
            at += runs_of

    def image(self, cut, file, rng):
        """Builds in `file` a disk as a power cut at `cut` may leave it; returns how many entries were in the balance."""
        floor = self.durable(cut)
        for entry in self.entries[self.applied:floor]:
            self._apply(self.base, entry)
        self.applied = max(self.applied, floor)
        run("cp", "--sparse=always", self.base_file, file)
        fd = os.open(file, os.O_WRONLY)
        try:
            # Cuts that keep most, few or half of it: each finds other mistakes.
            chance = rng.choice([0.05, 0.5, 0.95])
            for entry in self.entries[floor:cut]:
                fate = rng.random()
                if entry[0] == FLUSH or fate < 0.25:
                    continue
                if fate < 0.5:
                    self._apply(fd, entry)
                else:
                    self._apply_torn(fd, entry, chance, rng)
        finally:
            os.close(fd)
        return cut - floor
