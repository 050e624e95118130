"""`sluice inspect DIR` over what a real daemon leaves behind: after a clean stop, after kill -9, and with damage of each
kind, which it must name by file and byte.
"""
import glob
import json
import os
import re
import shutil
import subprocess
import unittest

from daemon import BUILD, SLOW, Daemon, wait_until

CONFIG = "streams: [{name: events, shards: 2}]"


class Inspect(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon(config=CONFIG)
        self.data = self.daemon.data

    def tearDown(self):
        self.daemon.kill()
        shutil.rmtree(self.daemon.folder, ignore_errors=True)

    def inspect(self, *args):
        done = subprocess.run([os.path.join(BUILD, "sluice"), "inspect", self.data, *args], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=120 * SLOW)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def inspect_json(self, status):
        """Findings, shards and the summary."""
        got, out, err = self.inspect("--json")
        self.assertEqual((got, err), (status, ""), out)
        lines = [json.loads(line) for line in out.splitlines()]
        return ([x["finding"] for x in lines if "finding" in x], [x["shard"] for x in lines if "shard" in x], lines[-1]["summary"])

    def assertWell(self, records=None):
        """Exit status 0 and no damage; the other findings are returned."""
        findings, _, summary = self.inspect_json(0)
        self.assertEqual(summary["damages"], 0)
        self.assertNotIn("damage", [f["severity"] for f in findings])
        if records is not None:
            self.assertEqual(summary["records"], records)
        return findings

    def assertDamaged(self, path, first, last):
        """Damage was found in `path` at a byte within first..last; its text is returned."""
        findings, _, summary = self.inspect_json(1)
        self.assertGreater(summary["damages"], 0)
        texts = [f["what"] for f in findings if f["severity"] == "damage" and f["file"] == path and first <= f["offset"] <= last]
        self.assertTrue(texts, f"nothing about {path} in {first}..{last}: {findings}")
        self.assertIn(path, self.inspect()[1], "people are told too")
        return texts[0]

    def put(self, small, large):
        """Many little puts, which go through the journal, and batches that go straight to a segment; how many records."""
        kinesis = self.daemon.kinesis()
        for i in range(max(small, large)):
            if i < small:
                kinesis.put_records(StreamName="events", Records=[{"Data": f"{i}-{n}".encode(), "PartitionKey": str(n)} for n in range(20)])
            if i < large:
                kinesis.put_records(StreamName="events", Records=[{"Data": os.urandom(40000), "PartitionKey": "one"} for n in range(30)])
        return small * 20 + large * 30

    def write(self, small=30, large=6):
        self.daemon.start()
        return self.put(small, large)

    def segments(self):
        """Paths of the shard's segments that has the most, oldest first."""
        return sorted(max((glob.glob(d + "/*.seg") for d in glob.glob(self.data + "/shards/*")), key=len))

    def read(self, path):
        with open(path, "rb") as f:
            return f.read()

    def frames(self, path):
        """Offsets of the frames, of which at least four are wanted."""
        frames = [m.start() for m in re.finditer(b"SFRM", self.read(path)) if m.start() % 64 == 0]
        self.assertGreater(len(frames), 3)
        return frames

    def flip(self, path, at):
        with open(path, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 0x10]))

    # -- nothing is wrong --

    def test_after_a_clean_stop_and_after_a_kill_all_is_well(self):
        count = self.write()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertGreater(len(self.segments()), 2)
        self.assertWell(count)
        self.daemon.start()
        count += self.put(20, 5)
        self.daemon.kill()
        self.assertWell(count)
        self.daemon.start()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertWell(count)

    def test_it_changes_nothing(self):
        self.write()
        self.daemon.kill()

        def everything():
            return {p: (os.stat(p).st_mtime_ns, os.path.isfile(p) and self.read(p))
                    for p in glob.glob(self.data + "/**", recursive=True)}
        before = everything()
        self.assertWell()
        self.assertEqual(everything(), before)

    def test_an_empty_log_is_well(self):
        self.daemon.start()
        self.daemon.kill()
        self.assertWell(0)

    def test_the_shards_add_up(self):
        count = self.write(5, 2)
        self.daemon.stop()
        _, shards, summary = self.inspect_json(0)
        self.assertEqual(len(shards), 2)
        self.assertEqual(sum(s["records"] for s in shards), count)
        self.assertEqual(sum(s["next"] - s["first"] for s in shards), count)
        self.assertEqual(sum(s["segments"] for s in shards), len(glob.glob(self.data + "/shards/*/*.seg")))
        self.assertEqual((summary["records"], summary["shards"], summary["journals"]), (count, 2, 1))

    def test_garbage_behind_the_last_write_of_a_killed_daemon_is_torn_and_no_error(self):
        count = self.write(30, 0)
        self.daemon.kill()
        [journal] = glob.glob(self.data + "/journal/*/*.jnl")
        with open(journal, "r+b") as f:
            text = f.read()
            end = (text.rindex(b"SFRM") // 4096 + 1) * 4096
            f.seek(end)
            f.write(os.urandom(9000))
        self.assertEqual([(f["severity"], f["file"]) for f in self.assertWell(count)], [("torn", journal)])
        self.daemon.start()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertWell(count)

    # -- something is --

    def test_a_flipped_byte_is_named_in_a_sealed_segment(self):
        self.write()
        self.daemon.stop()
        path = self.segments()[0]
        self.flip(path, 300000)
        # the frame that holds the byte begins at most its own length before it
        self.assertDamaged(path, 0, 300000)
        self.flip(path, 300000)
        self.assertWell()

    def test_a_flipped_byte_is_named_in_the_middle_of_the_active_segment(self):
        self.write(5, 8)
        self.daemon.kill()
        path = self.segments()[-1]
        frames = self.frames(path)
        middle = frames[len(frames) // 2]
        self.flip(path, middle + 200)
        self.assertDamaged(path, frames[len(frames) // 2 - 1] + 1, middle)

    def test_a_flipped_byte_in_a_segments_head_is_named(self):
        self.write()
        self.daemon.stop()
        self.flip(self.segments()[1], 130)
        self.assertEqual(self.assertDamaged(self.segments()[1], 0, 0), "the head is damaged")

    def test_a_flipped_byte_in_the_journal_is_named_and_so_are_the_records(self):
        self.write(30, 0)
        self.daemon.stop()
        [journal] = glob.glob(self.data + "/journal/*/*.jnl")
        frames = [m.start() for m in re.finditer(b"SBLK", self.read(journal))]
        self.flip(journal, frames[len(frames) // 2] + 80)
        self.assertDamaged(journal, 4096, frames[len(frames) // 2])
        self.assertRegex(str(self.inspect_json(1)[0]), r"records \d+ to \d+ are missing before this block")

    def test_a_truncated_segment_is_named(self):
        self.write()
        self.daemon.stop()
        path = self.segments()[0]
        size = os.path.getsize(path)
        os.truncate(path, size // 2)
        self.assertRegex(self.assertDamaged(path, 0, size // 2), "cut off: it was synced up to byte")
        os.truncate(path, 0)
        self.assertDamaged(path, 0, 0)

    def test_a_truncated_last_segment_is_named(self):
        self.write(5, 8)
        self.daemon.stop()
        path = self.segments()[-1]
        frames = self.frames(path)
        os.truncate(path, frames[-1] + 1000)
        self.assertRegex(self.assertDamaged(path, frames[-2] + 1, frames[-1]), "cut off: it was synced up to byte")

    def test_a_missing_segment_is_named(self):
        self.write(5, 12)
        self.daemon.stop()
        segments = self.segments()
        self.assertGreater(len(segments), 3)
        for path in (segments[0], segments[1], segments[-1]):
            os.rename(path, path + ".away")
            self.assertEqual(self.assertDamaged(path, 0, 0), "the file is missing")
            os.rename(path + ".away", path)
        self.assertWell()

    def test_a_damaged_index_is_only_noted(self):
        self.write()
        self.daemon.stop()
        [path, *_] = sorted(glob.glob(self.data + "/shards/*/*.idx"))
        self.flip(path, 95)
        self.assertEqual([(f["severity"], f["file"]) for f in self.assertWell()], [("note", path)])

    def test_a_missing_journal_is_no_emptiness(self):
        self.write()
        self.daemon.stop()
        shutil.rmtree(self.data + "/journal/0")
        self.assertIn("without a commit journal", self.assertDamaged(self.data + "/shards", 0, 0))

    # -- what it refuses --

    def test_it_refuses_while_a_daemon_runs_and_names_it(self):
        self.daemon.start()
        status, out, err = self.inspect()
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, rf"\b{self.daemon.process.pid}\b")

    def test_a_folder_that_is_none_of_ours_is_refused(self):
        os.makedirs(self.data)
        status, _, err = self.inspect()
        self.assertEqual(status, 1)
        self.assertIn("this is no data directory of sluiced", err)
        self.data += "/nothing"
        self.assertEqual(self.inspect()[0], 1)

    def test_a_shard_whose_stream_was_deleted_is_no_damage(self):
        self.write(5, 5)
        self.daemon.kinesis().delete_stream(StreamName="events")
        wait_until(lambda: not glob.glob(self.data + "/shards/*"), 20, "the shards' folders are gone")
        self.daemon.kill()
        self.assertWell()


if __name__ == "__main__":
    unittest.main()
