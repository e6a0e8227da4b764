# cast.awk - gives each sentence on stdin to voices: who speaks it, how fast, how high.
#
#   awk -f cast.awk -v voices="en-us en-us+f2" -v takes=2 -v seed=1 [-v prefix=w] [-v speeds="150 190"] [-v pitches="30 70"]
#
# takes  a number: so many voices a sentence, drawn at random; "each": every voice once; "each*4": every voice four times
# Output, tab separated: clip name, voice, words a minute, pitch, text. POSIX awk, own random numbers.

function below(limit) {
    state = (state * 16807) % 2147483647
    return int(state / 2147483647 * limit)
}
function between(range,    a) { split(range, a, " "); return a[1] + below(a[2] - a[1] + 1) }
function speak(voice) {
    printf "%s%05d\t%s\t%d\t%d\t%s\n", prefix, ++clips, voice, between(speeds), between(pitches), $0
}
BEGIN {
    state = (seed + 1) * 104729 % 2147483646 + 1
    for (i = 0; i < 20; i++) below(2)
    count = split(voices, VOICE, " ")
    if (speeds == "") speeds = "150 190"
    if (pitches == "") pitches = "30 70"
    if (takes == "") takes = 1
    times = takes ~ /^each\*/ ? substr(takes, 6) + 0 : 1
}
NF {
    if (takes ~ /^each/)
        for (t = 0; t < times; t++) for (i = 1; i <= count; i++) speak(VOICE[i])
    else
        for (t = 0; t < takes; t++) speak(VOICE[below(count) + 1])
}
