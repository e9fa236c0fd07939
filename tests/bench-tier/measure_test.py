#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The figures of bench-tier, on small runs whose figures are known; and what is planned."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import contenders  # noqa: E402
import kept  # noqa: E402
import matrix  # noqa: E402
import measure  # noqa: E402
import plan  # noqa: E402
import report  # noqa: E402
from guest import sizes_for  # noqa: E402


def rows(*near_of_ten, start=0.0):
    return [{"epoch": i, "start_s": start + i, "seconds": 1.0, "near": n, "far": 10 - n}
            for i, n in enumerate(near_of_ten)]


class Kept(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.file = self.folder / "kept.jsonl"

    def write(self, name, value):
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))

    def test_what_was_kept_comes_back_and_what_is_there_stays(self):
        cells = {f"headline.zipf.kernel.{n}": {"cell": f"headline.zipf.kernel.{n}", "rows": rows(n, 2), "work": {}}
                 for n in (1, 2)}
        for name, cell in cells.items():
            self.write(f"results/{name}.json", cell)
        self.write("optima/headline.zipf.1.json", {"overall": 0.8, "phases": [0.8]})
        self.assertEqual(kept.keep(self.folder, self.file), 3)
        self.write("results/headline.zipf.kernel.2.json", {"cell": "another"})
        elsewhere = self.folder / "elsewhere"
        other = self.folder / "other"
        self.write("other/results/headline.zipf.damon.1.json", {"cell": "headline.zipf.damon.1", "rows": [], "work": {}})
        both = self.folder / "both.jsonl"
        both.write_text(self.file.read_text())
        self.assertEqual(kept.keep(other, both), 4)  # those of another machine stay
        self.assertEqual(kept.keep(other, both), 4)
        self.assertEqual((kept.take(self.folder, self.file), kept.take(elsewhere, self.file)), (0, 3))
        self.assertIn("another", (self.folder / "results/headline.zipf.kernel.2.json").read_text())
        for name, cell in cells.items():
            self.assertEqual(json.loads((elsewhere / f"results/{name}.json").read_text()), cell)
        self.assertEqual(json.loads((elsewhere / "optima/headline.zipf.1.json").read_text())["overall"], 0.8)

    def test_another_file_is_refused_by_its_line(self):
        for line in ("{", "[]", "7", "{}", '{"cell":"a","rows":[[1]]}', '{"cell":"a"}'):
            self.file.write_text('{"optimum_of":"a","overall":1}\n' + line + "\n")
            with self.assertRaisesRegex(ValueError, r"kept.jsonl:2 is no measured cell"):
                kept.take(self.folder / "x", self.file)


class Figures(unittest.TestCase):
    def test_what_came_before_the_data_was_there_does_not_count(self):
        loop = measure.loop_epochs(rows(10, 10, 2, 4), 1.5)
        self.assertEqual([r["near"] for r in loop], [2, 4])
        self.assertAlmostEqual(measure.share(loop), 0.3)

    def test_a_short_or_empty_epoch_does_not_count(self):
        some = rows(5, 5)
        some[1]["seconds"] = 0.1
        empty = {"epoch": 2, "start_s": 2.0, "seconds": 1.0, "near": 0, "far": 0}
        self.assertEqual(len(measure.loop_epochs([*some, empty], 0)), 1)

    def test_the_second_of_the_jump_belongs_to_no_phase(self):
        before, after = measure.phases(rows(1, 2, 3, 4), 0, 1.5)
        self.assertEqual([r["near"] for r in before], [1])
        self.assertEqual([r["near"] for r in after], [3, 4])

    def test_recovery_is_when_three_seconds_together_are_there(self):
        some = rows(0, 9, 0, 0, 8, 9, 9, 9)
        self.assertEqual(measure.recovery_s(some, 0.9, 0.9), 4.0)
        self.assertIsNone(measure.recovery_s(rows(0, 0, 0, 0), 0.9, 0.9))
        self.assertIsNone(measure.recovery_s(rows(9), 0.9, 0.9))


    def test_the_cost_of_a_run_is_far_accesses_and_moves(self):
        some = rows(0, 4, 8)  # the first one before the data was there
        self.assertAlmostEqual(measure.cost_per_access_ns(some, 0.5, 0, 100, 0), 100 * 8 / 20)
        self.assertAlmostEqual(measure.cost_per_access_ns(some, 0.5, 3, 100, 1000), (100 * 8 + 3 * 1000) / 20)

    def test_harm_is_told_against_first_touch_with_the_same_seed(self):
        def run(contender, seed, near, moved):
            return {"contender": contender, "seed": seed, "axis": "headline", "rows": rows(near, near),
                    "work": {"loop_after_s": 0}, "moves": {"pgmigrate_success": moved}}
        results = [run("first-touch", 1, 5, 0), run("first-touch", 2, 9, 0), run("libpool", 1, 9, 0), run("libpool", 2, 9, 1)]
        self.assertAlmostEqual(report.cost_ratio(results[2], results), 0.2)
        move = contenders.MOVE_NS / contenders.GAIN_NS / 2  # two far accesses without it
        self.assertAlmostEqual(report.cost_ratio(results[3], results), 1 + move)
        self.assertIsNone(report.cost_ratio(run("libpool", 3, 1, 0), results))

    def test_runs_that_never_got_there_are_not_hidden_by_a_median(self):
        runs = [{"recovery_90_s": s} for s in (2.0, None, 25.0)]
        self.assertEqual(report.each([*runs, {}], "recovery_90_s"), "2, never, 25")
        self.assertEqual(report.each([{}], "recovery_90_s"), "–")
        self.assertEqual(report.spread([0.2, None, -0.0001], 100), "10.0 (0.0–20.0)")


class Optimum(unittest.TestCase):
    def trace(self, *epochs):
        file = Path(self.folder.name) / "t.trace"
        file.write_text("pooltrace 1\npages 4\nepoch_ns 1000000000\nhome n*2 f*2\n" +
                        "".join(f"epoch{e}\n" for e in epochs))
        return file

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def test_the_hottest_pages_of_each_phase(self):
        trace = self.trace(" 9*4", " 10 0 0 30", " 5 5", " 0*2 40 8")
        found = measure.optima(trace, rows(0, 0, 0, 0), 1.0, 1.5)
        # One epoch before the jump (40 of 40 on two pages), one after (48 of 48); the one between counts for neither.
        self.assertEqual(found, {"phases": [1.0, 1.0], "overall": 1.0, "near_pages": 2})

    def test_an_epoch_without_an_access_is_one(self):
        self.assertEqual(len(list(measure.read_epochs(self.trace(" 1", "", " 2")))), 3)

    def test_what_does_not_fit_is_lost(self):
        found = measure.optima(self.trace(" 40 30 20 10"), rows(0), 0, 0)
        self.assertEqual((found["phases"], found["overall"]), ([0.7], 0.7))


class Matrix(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.trace = Path(self.folder.name) / "t.trace"
        self.trace.write_text("pooltrace 1\npages 6\nepoch_ns 1000000000\nhome n*2 -*3 f\nepoch 0 3*2\nepoch 0*2 5\nend 2\n")

    def test_near_is_a_part_of_what_is_used(self):
        self.assertEqual(matrix.used_pages(self.trace), 2)

    def test_where_pages_were_is_left_out_and_nothing_else(self):
        bare = self.trace.with_name("bare")
        matrix.without_homes(self.trace, bare)
        self.assertEqual(bare.read_text(), self.trace.read_text().replace("home n*2 -*3 f\n", ""))

    def test_the_jump_is_at_the_first_epoch_that_is_all_after_it(self):
        result = {"work": {"loop_after_s": 1.1, "jump_s": 1}, "rows": rows(0, 0, 0, 0, 0)}
        self.assertEqual(matrix.jump_epoch(result), 3)
        self.assertIsNone(matrix.jump_epoch({**result, "work": {"jump_s": 0}}))

    def test_a_row_has_medians_and_who_never_came_back(self):
        shown = [{"kind": "hot", "part": part, "jump": 5, "policy": policy, "bound_near_share": "0.5", "of_bound": of,
                  "moved_bytes": str(3 << 20), "recovery_90_s": "" if of == "0.9" else "2.00"}
                 for part in matrix.PARTS for policy in matrix.POLICIES for of in ("0.7", "0.9", "0.8")]
        first = matrix.table_of(shown).splitlines()[2]
        self.assertEqual(first, "| hot | 1/8 | 3 | 50.0 (50.0–50.0) |" + " 80.0 (70.0–90.0) / 3 |" * 5 + " 2, never, 2 |")


class Plan(unittest.TestCase):
    def test_each_repetition_has_all_contenders_in_another_order(self):
        cells = plan.cells("headline", ["zipf"], ["a", "b", "c"], (1, 2, 3))
        firsts = [c.contender for c in cells[::3]]
        self.assertEqual(sorted(firsts), ["a", "b", "c"])
        self.assertEqual(len({c.id for c in cells}), 9)

    def test_the_targets_keep_their_time(self):
        everybody = contenders.contenders(0, 1)
        tuning = plan.tuning([s.name for s in contenders.DAMON_SETTINGS])
        hours = sum(plan.seconds_of(c) for c in dict.fromkeys([*tuning, *plan.full(everybody)])) / 3600
        self.assertLess(hours, 3)
        self.assertLess(sum(plan.seconds_of(c) for c in plan.quick()) / 60, 10)
        self.assertLess(sum(plan.seconds_of(c) for c in plan.lasting()) / 60, 17)

    def test_a_grant_as_far_node_shows_shares_and_no_times(self):
        axis = plan.AXES["dcd"]
        self.assertIn("times mean nothing", axis.title)
        self.assertEqual(axis.near * 8, plan.DATA // axis.shrink)
        words = plan.WORKLOADS["zipf-short"].options(1, axis.shrink)
        self.assertEqual(int(words[words.index("--bytes") + 1]), plan.DATA // axis.shrink)
        self.assertFalse([c for c in report.HIT_SHARE_ONLY if "CPU" in c or "speed" in c or c.startswith("s ")])
        cells = [c for c in plan.full(contenders.contenders(0, 1)) if c.axis == "dcd"]
        self.assertEqual({c.workload for c in cells}, set(plan.SHORT))
        self.assertEqual(len(cells), 2 * 3 * 3)  # workloads, contenders, repetitions

    def test_a_contender_is_told_the_gain_of_its_axis(self):
        for name in ("libpool", "libpool-run", "libpool-truth"):
            shown = [str(c[name]) for c in (contenders.contenders(0, 1), contenders.contenders(0, 1, gain_ns=15000))]
            self.assertNotIn("15000", shown[0])
            self.assertIn("15000", shown[1])

    def test_damon_gets_at_most_twelve_settings(self):
        self.assertLessEqual(len(contenders.DAMON_SETTINGS), 12)
        self.assertNotIn(plan.TUNING_SEED, {c.seed for c in plan.full(contenders.contenders(0, 1))})

    def test_every_script_is_one_for_a_shell(self):
        for thp in ("never", "always"):
            subprocess.run(["sh", "-n"], input=contenders.reset(thp), text=True, check=True)
        for contender in contenders.contenders(62 << 20, 574 << 20).values():
            subprocess.run(["sh", "-n"], input=contender.setup, text=True, check=True)

    def test_a_larger_near_node_for_more_room(self):
        self.assertGreaterEqual(sizes_for(128 << 20).near_node - sizes_for(32 << 20).near_node, 96 << 20)


if __name__ == "__main__":
    unittest.main()
