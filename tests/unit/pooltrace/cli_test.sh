#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# pooltrace as people call it: a trace goes out, comes back and is judged; wrong input is one sentence and 2.
set -euo pipefail
pooltrace=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed() { echo "FAILED: $*" >&2; exit 1; }

wrong() { # the sentence, then the words
    local sentence=$1 code=0
    shift
    "$pooltrace" "$@" >"$dir/out" 2>"$dir/err" || code=$?
    [ "$code" -eq 2 ] || failed "pooltrace $* ended with $code"
    [ "$(cat "$dir/err")" = "pooltrace: $sentence" ] || failed "pooltrace $* said: $(cat "$dir/err")"
    [ ! -s "$dir/out" ] || failed "pooltrace $* went to work first: $(cat "$dir/out")"
}
if [ "${2-}" = memory ]; then # not with the sanitizers, which take terabytes of addresses
    ulimit -v 400000
    wrong 'There is not enough memory for this.' run --gen hot --pages 2600000 --epochs 100
    exit 0
fi

"$pooltrace" gen hot --pages 512 --near 64 --epochs 40 --accesses 1e5 --out "$dir/hot.trace" 2>"$dir/said"
grep -qx 'The hot set jumps at epoch 20: give --jump 20 to run.' "$dir/said" || failed "no word of the jump"
[ "$(head -n 1 "$dir/hot.trace")" = "pooltrace 1" ] || failed "no trace was written"
"$pooltrace" gen hot --pages 512 --near 64 --epochs 40 --accesses 1e5 2>/dev/null | cmp - "$dir/hot.trace" || failed "standard output differs"

"$pooltrace" run --trace "$dir/hot.trace" --near 64 --jump 20 --csv "$dir/a.csv" --plot "$dir/p" >"$dir/table"
[ "$(wc -l <"$dir/a.csv")" -eq 6 ] || failed "a line for each of five policies: $(cat "$dir/a.csv")"
grep -q '^hot.trace .*first-touch' "$dir/table" || failed "$(cat "$dir/table")"
[ "$(wc -l <"$dir/p.ours.csv")" -eq 41 ] || failed "a line an epoch"
# The same trace, generated in memory, is the same run.
"$pooltrace" run --gen hot --pages 512 --near 64 --epochs 40 --accesses 1e5 --csv "$dir/b.csv" >/dev/null
diff <(sed 's/^hot.trace/hot/' "$dir/a.csv") "$dir/b.csv" || failed "file and generator differ"

"$pooltrace" bound --trace "$dir/hot.trace" --near 1/8 --csv "$dir/prices.csv" >"$dir/bound"
grep -q '^no placement costs less than' "$dir/bound" || failed "$(cat "$dir/bound")"
[ "$(wc -l <"$dir/prices.csv")" -eq 41 ] || failed "a price an epoch"
"$pooltrace" matrix --gen hot,zipf --trace "$dir/hot.trace" --pages 512 --epochs 40 --near 1/8,1/2 --policy histogram,ours \
    --csv "$dir/matrix.csv" >/dev/null
[ "$(wc -l <"$dir/matrix.csv")" -eq 13 ] || failed "3 workloads × 2 sizes × 2 policies"

# harm says what it checks, and of how many runs of each adversary.
"$pooltrace" harm --seeds 1..3 >"$dir/harm" || failed "$(cat "$dir/harm")"
[ "$(head -n 1 "$dir/harm")" = "seeds 1..3: 0 or 1 of each of 8 adversaries" ] || failed "$(cat "$dir/harm")"
grep -qx '0 of 3 runs broke cost <= (1 + 0.01)·baseline + C + U; delta 0.001 allows 0' "$dir/harm" || failed "$(cat "$dir/harm")"
grep -qx '[0-3] of 3 runs went above (1 + 0.01)·baseline + C, without U: not promised, no failure' "$dir/harm" || failed "$(cat "$dir/harm")"
# The planted fault must be seen in lure and pairs, and is told of turns; of others alone it cannot be seen.
"$pooltrace" harm --gen turns --seeds 1..2 --planted >"$dir/harm" || failed "$(cat "$dir/harm")"
[ "$(head -n 1 "$dir/harm")" = "seeds 1..2: all of turns" ] || failed "$(cat "$dir/harm")"
tail -n 1 "$dir/harm" | grep -qx 'The planted fault: [0-2] of 2 runs of turns broke the bound; nothing is demanded of them.' ||
    failed "$(cat "$dir/harm")"
code=0
"$pooltrace" harm --gen uniform --seeds 1..1 --planted >"$dir/harm" || code=$?
[ "$code" -eq 1 ] || failed "a fault that nobody could see was taken for seen: $(cat "$dir/harm")"
# Of so little no speed is told.
"$pooltrace" speed --policy ours --pages 512 --epochs 8 --decide-pages 512 >"$dir/speed" || failed "$(cat "$dir/speed")"
grep -qx 'Too little was asked for to judge by.' "$dir/speed" || failed "$(cat "$dir/speed")"

echo "pooltrace 1" >"$dir/short.trace"
wrong 'Say a command; pooltrace --help names them.'
wrong 'There is no command "fly"; pooltrace --help names them.' fly
wrong 'There is no option "--polic" here.' run --gen hot --polic ours
wrong 'Say either --trace FILE or --gen KIND.' run
wrong 'There is no policy "lru"; there are: first-touch tpp histogram two-ewma ours.' run --gen hot --policy lru
wrong "Trace $dir/none: No such file or directory." run --trace "$dir/none"
wrong "$dir/short.trace: line 1 of the trace: the text ends where \"pages N\" must stand." bound --trace "$dir/short.trace"
wrong '--near must be a number of pages above 0, or a part like 1/8, not "much".' run --gen hot --near much
wrong '--costs must be native or guest, not "free".' run --gen hot --costs free
wrong '--costs must be native or guest, not "free".' bound --gen hot --costs free
wrong '--jump 240 is behind the last epoch, 239.' run --gen hot --jump 240
wrong 'There is no adversary "hot".' harm --gen hot
wrong 'Say one kind: pooltrace gen KIND [OPTIONS].' gen
wrong 'File /nonexistent/x: No such file or directory.' gen zipf --pages 64 --epochs 2 --out /nonexistent/x
wrong 'There is no policy "\x1b[31mx\x0a"; there are: first-touch tpp histogram two-ewma ours.' run --gen hot --policy $'\e[31mx\n'
wrong 'There is no command "\x1b[2J"; pooltrace --help names them.' $'\e[2J'
{ "$pooltrace" run --gen $'\e[2J' 2>&1 || true; } | grep -q '^pooltrace: There is no kind of trace "\\x1b\[2J";' || failed "an escape got through"
wrong '--near must be a number of pages above 0, or a part like 1/8, not "\x1b[2J".' run --gen hot --near $'\e[2J'
wrong '--bound-steps must be a whole number from 1 to 1000000, not "0".' run --gen hot --bound-steps 0
wrong "Trace /dev/zero is neither a file nor a pipe." run --trace /dev/zero

# Files that cannot be written are found before the work begins; those that can are not touched before its end.
small=(--gen hot --pages 64 --epochs 4)
mkdir "$dir/folder" "$dir/q.ours.csv"
for command in run bound matrix; do
    wrong 'File /nonexistent/x.csv: No such file or directory.' "$command" "${small[@]}" --csv /nonexistent/x.csv
    wrong "File $dir/folder: Is a directory." "$command" "${small[@]}" --csv "$dir/folder"
done
wrong 'File /nonexistent/p.gp: No such file or directory.' run "${small[@]}" --plot /nonexistent/p
wrong "File $dir/q.ours.csv: Is a directory." run "${small[@]}" --policy first-touch,ours --plot "$dir/q" --csv "$dir/q.csv"
wrong "--jump 4 is behind the last epoch, 3." run "${small[@]}" --jump 4 --plot "$dir/q" --policy histogram --csv "$dir/q.csv"
echo kept >"$dir/old.csv"
wrong "Trace $dir/none: No such file or directory." bound --trace "$dir/none" --csv "$dir/old.csv"
[ "$(cat "$dir/old.csv")" = kept ] || failed "a file of before is gone"
[ "$(cd "$dir" && echo q.*)" = q.ours.csv ] || failed "files were left behind: $(ls "$dir")"
# A pipe is no file that is tried: its reader would have its end.
"$pooltrace" bound "${small[@]}" --csv >(cat >"$dir/piped") >/dev/null
for _ in {1..100}; do [ -s "$dir/piped" ] && break || sleep 0.1; done
[ "$(wc -l <"$dir/piped")" -eq 5 ] || failed "the pipe got $(cat "$dir/piped")"

# A pipe is a trace, too; one that was cut off is said, and its epochs are taken.
"$pooltrace" run --trace <(cat "$dir/hot.trace") --near 64 --policy ours >"$dir/out" 2>"$dir/err" || failed "$(cat "$dir/err")"
[ ! -s "$dir/err" ] || failed "$(cat "$dir/err")"
head -n -1 "$dir/hot.trace" >"$dir/cut.trace"
"$pooltrace" run --trace "$dir/cut.trace" --near 64 --policy ours >"$dir/cut" 2>"$dir/err" || failed "$(cat "$dir/err")"
grep -qx "pooltrace: $dir/cut.trace has no end: it was cut off, .*; its first 40 epochs are taken" "$dir/err" || failed "$(cat "$dir/err")"
# More than all is all.
"$pooltrace" run --trace "$dir/hot.trace" --near 4000000000 --policy ours | grep -q '^hot.trace  *512 ' || failed "near is not cut to all pages"
echo "pooltrace: all as promised"
