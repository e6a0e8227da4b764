#!/bin/sh
# test_transcribe.sh - Whisper writes down sound files: formats, places, silence, bad input.  The
# checkpoints are tiny and know nothing: their words are noise, always the same.
. "$(dirname "$0")/lib"

whisper=$PWD/tests/data/whisper
clips=$whisper/clips
model="--model $whisper/v2 --decoding-temperatures 0 --max-new-tokens 12"
transcribe="$attune transcribe $model --language de"

# A sound file of raw 16-bit samples: 44 bytes of header, then $1.
byte() { printf "\\$(printf %03o $(($1 & 255)))"; }
le32() { byte "$1"; byte $(($1 >> 8)); byte $(($1 >> 16)); byte $(($1 >> 24)); }
wav_of() {
    size=$(wc -c <"$1")
    printf RIFF; le32 $((size + 36)); printf 'WAVEfmt '
    le32 16; printf '\001\000\001\000'; le32 16000; le32 32000; printf '\002\000\020\000data'
    le32 "$size"; cat "$1"
}
silence() { # SECONDS FILE
    head -c $((32000 * $1)) /dev/zero >"$dir/zeros"
    wav_of "$dir/zeros" >"$2"
}
silence 3 "$dir/silent.wav"

# -- plain text -----------------------------------------------------------------------------------
run $transcribe "$clips/voice.wav"
check "one file: its text in one line" test $code -eq 0 -a "$(wc -l <"$dir/out")" -eq 1 -a \
    "$(wc -c <"$dir/out")" -gt 1
check "one file: nothing but the text" sh -c "! grep -q voice.wav $dir/out"
cp "$dir/out" "$dir/voice.txt"
run $transcribe "$clips/voice.wav" "$clips/sweep.wav"
check "two files: path, tab, text" test "$(head -n 1 "$dir/out")" = \
    "$clips/voice.wav	$(cat "$dir/voice.txt")"
cp "$dir/out" "$dir/both"
run $transcribe "$clips/voice.wav" "$clips/sweep.wav" --eval-batch 1
check "two files: the same one by one" cmp -s "$dir/out" "$dir/both"
$transcribe - <"$clips/voice.wav" >"$dir/out" 2>"$dir/err"
check "stdin" cmp -s "$dir/out" "$dir/voice.txt"
says "stdin: its name in JSON" '{"file":"-","text":' \
    sh -c "$transcribe - --json <$clips/sweep.wav"
expect "stdin twice" 2 '- (stdin) is given 2 times' $transcribe - -
expect "stdin that is no sound" 3 '1 of 1 files could not be used' \
    sh -c "echo no | $transcribe -"
check "stdin that is no sound is named" grep -q '^error: stdin: ' "$dir/err"

# -- formats --------------------------------------------------------------------------------------
time='[0-9][0-9]:[0-9][0-9]'
run $transcribe "$clips/long.wav" --format srt
check "srt: number, times" sh -c "head -n 1 $dir/out | grep -qx 1 &&
    sed -n 2p $dir/out | grep -Eqx '00:$time,[0-9]{3} --> 00:$time,[0-9]{3}'"
run $transcribe "$clips/long.wav" --format vtt
check "vtt: header, times" sh -c "head -n 1 $dir/out | grep -qx WEBVTT &&
    sed -n 3p $dir/out | grep -Eqx '$time\.[0-9]{3} --> $time\.[0-9]{3}'"
run $transcribe "$clips/long.wav" --format tsv
check "tsv: header, milliseconds" sh -c "head -n 1 $dir/out | grep -qx 'start	end	text' &&
    sed -n 2p $dir/out | grep -Eq '^[0-9]+	[0-9]+	.'"
cp "$dir/out" "$dir/long.tsv"
run $transcribe "$clips/long.wav" --timestamps
check "text with times" sh -c "head -n 1 $dir/out |
    grep -Eq '^\[$time\.[0-9]{3} --> $time\.[0-9]{3}\] .'"
says "json: text, language" '"language":"de","language_p":1.0,"duration":5.45,"segments":[{"start":' \
    $transcribe "$clips/long.wav" --format json
check "json: what is known of a segment" \
    grep -Eq '"temperature":0.0,"logprob":-[0-9.]+,"compression_ratio":[0-9.]+,"no_speech":' \
    "$dir/out"
cp "$dir/out" "$dir/long.json"
run $transcribe "$clips/long.wav" --json
check "--json is --format json" cmp -s "$dir/out" "$dir/long.json"
run $transcribe "$clips/voice.wav" "$clips/long.wav" --json
check "json: a line for each file" test "$(wc -l <"$dir/out")" -eq 2
check "json: files do not mix" test "$(tail -n 1 "$dir/out")" = "$(cat "$dir/long.json")"
expect "several subtitles do not share stdout" 2 '2 recordings cannot share stdout as srt' \
    $transcribe "$clips/voice.wav" "$clips/long.wav" --format srt
expect "two formats" 2 'expected one of them' $transcribe "$clips/long.wav" --format srt --json

# -- a folder of files ----------------------------------------------------------------------------
run $transcribe "$clips/voice.wav" "$clips/long.wav" --format tsv --output "$dir/texts/a"
check "output: nothing on stdout" test $code -eq 0 -a ! -s "$dir/out"
check "output: a file for each" test "$(ls "$dir/texts/a" | tr '\n' ' ')" = "long.tsv voice.tsv "
check "output: the same text" cmp -s "$dir/texts/a/long.tsv" "$dir/long.tsv"
run $transcribe "$clips/voice.wav" --output "$dir/texts/a"
check "output: text" cmp -s "$dir/texts/a/voice.txt" "$dir/voice.txt"
$transcribe - --output "$dir/texts/a" <"$clips/voice.wav" 2>"$dir/err"
check "output: of stdin" cmp -s "$dir/texts/a/stdin.txt" "$dir/voice.txt"
cp "$clips/sweep.wav" "$dir/Voice.wav"
expect "output: two of one name" 2 \
    "$clips/voice.wav and $dir/Voice.wav would both be written to $dir/texts/b/" \
    $transcribe "$clips/voice.wav" "$dir/Voice.wav" --output "$dir/texts/b"
check "output: nothing was made" test ! -e "$dir/texts/b"
expect "output: a file is there" 2 'this is a file, expected a folder' \
    $transcribe "$clips/voice.wav" --output "$dir/Voice.wav"
cp "$clips/voice.wav" "$dir/sound.txt"
expect "output: over the input" 2 "sound.txt would be overwritten by its transcript" \
    $transcribe "$dir/sound.txt" --output "$dir"
cmp -s "$clips/voice.wav" "$dir/sound.txt"
check "output: the input is as it was" test $? -eq 0

# -- windows --------------------------------------------------------------------------------------
run $transcribe "$clips/long.wav" "$clips/voice.wav" --windows split --format tsv \
    --output "$dir/split"
check "split: cues in order, none beyond the end" awk -F '\t' 'NR > 1 {
    if ($1 < last || $2 < $1 || $2 > 5450) exit 1; last = $1; n++ } END { exit n < 2 }' \
    "$dir/split/long.tsv"
run $transcribe "$clips/voice.wav" --windows split
check "split: a recording of one window is the same" cmp -s "$dir/out" "$dir/voice.txt"

# -- languages ------------------------------------------------------------------------------------
run "$attune" transcribe $model "$clips/voice.wav"
check "detection: is told" grep -Eq '^language: [a-z]+ \([0-9]+ %\)$' "$dir/err"
language=$(sed -n 's/^language: \([a-z]*\) .*/\1/p' "$dir/err")
says "detection: in JSON" "\"language\":\"$language\",\"language_p\":0." \
    "$attune" transcribe $model "$clips/voice.wav" "$clips/sweep.wav" --json
check "detection: not told of several" sh -c "! grep -q '^language:' $dir/err"
run "$attune" transcribe $model "$clips/voice.wav" --windows split
check "detection: split" grep -q "^language: $language " "$dir/err"
says "language by name" "$(cat "$dir/voice.txt")" \
    "$attune" transcribe $model "$clips/voice.wav" --language German
expect "language: not known" 2 "language" "$attune" transcribe $model "$clips/voice.wav" \
    --language germn
check "language: the nearest" grep -q "german" "$dir/err"
en="--model $whisper/en --decoding-temperatures 0 --max-new-tokens 12"
run "$attune" transcribe $en "$clips/voice.wav"
check "a model for English" test $code -eq 0 -a "$(wc -l <"$dir/out")" -eq 1
run "$attune" transcribe $en "$clips/voice.wav" --language English
check "a model for English: English by its name" test $code -eq 0
expect "a model for English: another language" 2 'English only' \
    "$attune" transcribe $en "$clips/voice.wav" --language de
expect "a model for English: translate" 2 'English only' \
    "$attune" transcribe $en "$clips/voice.wav" --task translate
run $transcribe "$clips/sweep.wav" --task translate
check "translate: another text" sh -c "[ $code -eq 0 ] && ! grep -qF \"$(cat "$dir/out")\" $dir/both"
says "128 mel bins" '"text":' "$attune" transcribe --model "$whisper/v3" --language de \
    --decoding-temperatures 0 --max-new-tokens 12 "$clips/sweep.wav" --json

# -- silence and bad files ------------------------------------------------------------------------
run $transcribe "$dir/silent.wav"
check "silence: an empty text" test $code -eq 0 -a "$(cat "$dir/out")" = ""
check "silence: is told" grep -q 'silent.wav: is silent' "$dir/err"
says "silence: JSON" '"text":"","duration":3.0,"segments":[]' $transcribe "$dir/silent.wav" --json
run $transcribe "$dir/silent.wav" "$clips/long.wav" --windows split --format srt \
    --output "$dir/quiet"
check "silence: no cues" test $code -eq 0 -a -f "$dir/quiet/silent.srt" -a \
    ! -s "$dir/quiet/silent.srt" -a -s "$dir/quiet/long.srt"
printf 'no sound' >"$dir/bad.wav"
expect "bad files are left out" 3 'transcribe: 2 of 3 files could not be used' \
    $transcribe "$dir/none.wav" "$clips/voice.wav" "$dir/bad.wav"
check "bad files: the good one is there" test "$(cat "$dir/out")" = \
    "$clips/voice.wav	$(cat "$dir/voice.txt")"
check "bad files: each is named" test "$(grep -c '^error: .*/\(none\|bad\).wav: ' "$dir/err")" -eq 2
expect "no file" 2 'no file is given' $transcribe

# -- other models ---------------------------------------------------------------------------------
gemma="--model $data/model --max-new-tokens 5"
says "gemma: cues" '00:00:00,000 --> 00:00:' \
    "$attune" transcribe $gemma "$data/a.wav" --format srt
says "gemma: JSON" '"segments":[{"start":0.0,"end":' \
    "$attune" transcribe $gemma "$data/a.wav" --json
expect "gemma: no language to choose" 2 '--language is for Whisper' \
    "$attune" transcribe $gemma "$data/a.wav" --language de
expect "gemma: no windows" 2 '--windows sequential is for Whisper' \
    "$attune" transcribe $gemma "$data/a.wav" --windows sequential

finish
