#!/bin/sh
# test_doctor.sh - what `attune doctor` says of this machine, as lines and as JSON.
. "$(dirname "$0")/lib"

says "doctor" "device     cpu, MLX 0." "$attune" doctor
check "doctor: each line is ok, warn or a hint" \
    awk '!/^(ok|warn|    ) /{ bad = 1 } END { exit bad }' "$dir/out"
check "doctor: audio" grep -q '^ok    audio      wav flac mp3 ogg opus m4a$' "$dir/out"
says "doctor --json" '"device":"cpu"' "$attune" doctor --json
check "doctor --json: one line" test "$(wc -l <"$dir/out")" -eq 1
case $(uname -s) in
Linux) check "doctor --json: OpenBLAS stands ahead of libmlx" grep -q '"blas":"OpenBLAS"' "$dir/out" ;;
esac
expect "doctor takes no file" 2 'doctor' "$attune" doctor nosuch
finish
