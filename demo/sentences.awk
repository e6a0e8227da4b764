# sentences.awk - makes up the sentences that the demo's voices speak.
#
#   awk -f sentences.awk -v kind=sentence -v n=1000 -v seed=1 -v part=train
#
# kind   word      one word of the vocabulary (n is ignored: each word once)
#        core      the same for the short list that the first lesson uses
#        pair      two words of the vocabulary, drawn freely
#        triple    three or four words, drawn freely
#        sentence  numbers, dates, times, names, short commands
#        vocab     as "word", for the tokenizer
# cover  with sentence: only such as hold a word that was said fewer than so many times before, until every word
#        was said so often (or n sentences are made): few sentences in which nothing is missing
# part   train | heldout | all. A sentence's part follows from its text, so that nothing held out
#        is ever in a training set, whatever the seed.
#
# Lower case, spelled out, no punctuation: word error rates need no normaliser. Every line is
# different. POSIX awk; the random numbers are our own, so that every awk writes the same lines.

function below(limit) {                  # a random integer in 0 .. limit-1 (Lehmer, exact in doubles)
    state = (state * 16807) % 2147483647
    return int(state / 2147483647 * limit)
}
function pick(list,    a, count) { count = split(list, a, " "); return a[below(count) + 1] }

function heldout(text,    i, h) {         # one sentence in eight
    h = 7
    for (i = 1; i <= length(text); i++)
        h = (h * 131 + index(ALPHABET, substr(text, i, 1))) % 2147483647
    return int(h / 64) % 8 == 0
}

function tens(v) {                        # 1 .. 99
    if (v < 10) return DIGIT[v]
    if (v < 20) return TEEN[v - 10]
    return v % 10 ? TEN[int(v / 10)] " " DIGIT[v % 10] : TEN[int(v / 10)]
}
function ordinal(v) {                     # 1 .. 31
    if (v <= 20) return ORDINAL[v]
    if (v == 30) return "thirtieth"
    return (v < 30 ? "twenty " : "thirty ") ORDINAL[v % 10]
}
function number(    v, h, r) {
    if (below(2)) return tens(11 + below(89))
    h = 1 + below(9); r = below(4) ? 1 + below(99) : 0
    return DIGIT[h] " hundred" (r ? " and " tens(r) : "")
}
function digits(    i, s) {
    s = DIGIT[below(10)]
    for (i = 2 + below(3); i > 0; i--) s = s " " DIGIT[below(10)]
    return s
}
function date(    m) {
    m = pick(MONTHS)
    if (below(2)) return m " the " ordinal(1 + below(31))
    return "the " ordinal(1 + below(31)) " of " m
}
function clock(    k, h) {
    k = below(6); h = tens(1 + below(12))
    if (k == 0) return "half past " h
    if (k == 1) return "quarter past " h
    if (k == 2) return "quarter to " h
    if (k == 3) return h " in the " pick("morning evening")
    if (k == 4) return tens(5 * (1 + below(5))) " past " h
    return h " " tens(10 + below(50))
}
function sentence(    k) {
    k = below(24)
    if (k <= 1) return digits()
    if (k == 2) return number()
    if (k == 3) return "number " number()
    if (k == 4) return date()
    if (k == 5) return pick(WEEKDAYS) " " date()
    if (k == 6) return clock()
    if (k == 7) return pick(WEEKDAYS) " at " clock()
    if (k == 8) return "call " pick(NAMES)
    if (k == 9) return "call " pick(NAMES) " at " clock()
    if (k == 10) return "send " pick(NAMES) " a message"
    if (k == 11) return "meet " pick(NAMES) " on " pick(WEEKDAYS)
    if (k == 12) return "remind " pick(NAMES) " on " date()
    if (k == 13) return "turn " pick("on off") " the " pick(ROOMS) " light"
    if (k == 14) return pick("open close") " the " pick(ROOMS) " " pick("door window")
    if (k == 15) return pick("play stop") " the " pick("music radio")
    if (k == 16) return "set a timer for " tens(2 + below(58)) " " pick("minutes seconds hours")
    if (k == 17) return "wake me at " clock()
    if (k == 18) return "how is the weather in " pick(CITIES)
    if (k == 19) return "a " pick("train ticket") " to " pick(CITIES)
    if (k == 20) return pick(NAMES) " lives in " pick(CITIES)
    if (k == 21) return pick(NAMES) " and " pick(NAMES) " " pick("meet call") " " pick(WEEKDAYS)
    if (k == 22) return "add " tens(2 + below(98)) " and " tens(2 + below(98))
    return pick("buy bring") " " tens(2 + below(18)) " " pick("apples bottles tickets books")
}
function useful(text,    a, i, news) {     # says a word that was not said `cover` times yet
    count_words = split(text, a, " ")
    for (i = 1; i <= count_words; i++) if (said[a[i]] < cover) news = 1
    if (news) for (i = 1; i <= count_words; i++) if (said[a[i]]++ == cover - 1) covered++
    return news
}
function emit(text) {
    if (text in seen) return 0
    if (wanted != "all" && heldout(text) != (wanted == "heldout")) return 0
    if (cover && !useful(text)) return 0
    seen[text] = 1
    print text
    return 1
}

BEGIN {
    ALPHABET = " abcdefghijklmnopqrstuvwxyz"
    wanted = part == "" ? "all" : part
    state = (seed + 1) * 7919 % 2147483646 + 1
    for (i = 0; i < 20; i++) below(2)

    DIGITS = "zero one two three four five six seven eight nine"
    TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
    TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
    ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth " \
        "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
    MONTHS = "january february march april may june july august september october november december"
    WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday"
    NAMES = "anna david emma george helen james laura martin nina oliver peter sophie thomas victor"
    CITIES = "berlin london paris rome tokyo madrid boston"
    ROOMS = "kitchen garden bedroom office front"
    OTHERS = "hundred and the of half past quarter to in morning evening number at call send a message meet on " \
        "remind turn off light open close door window play stop music radio set timer for minutes " \
        "seconds hours wake me how is weather train ticket lives add buy bring apples bottles tickets books thirtieth"
    CORE = DIGITS " monday saturday january august david sophie kitchen berlin window music"

    for (i = split(DIGITS, a, " "); i > 0; i--) DIGIT[i - 1] = a[i]
    for (i = split(TEENS, a, " "); i > 0; i--) TEEN[i - 1] = a[i]
    for (i = split(TENS, a, " "); i > 0; i--) TEN[i + 1] = a[i]
    for (i = split(ORDINALS, a, " "); i > 0; i--) ORDINAL[i] = a[i]
    ALL = DIGITS " " TEENS " " TENS " " ORDINALS " " MONTHS " " WEEKDAYS " " NAMES " " CITIES " " ROOMS " " OTHERS

    if (kind == "word" || kind == "vocab" || kind == "core") {
        count = split(kind == "core" ? CORE : ALL, a, " ")
        for (i = 1; i <= count; i++) { wanted = "all"; emit(a[i]) }
        exit
    }
    words = split(ALL, a, " ")
    for (tries = 0; made < n && tries < 1000 * n && !(cover && covered == words); tries++) {
        if (kind == "pair") text = pick(ALL) " " pick(ALL)
        else if (kind == "triple") {
            text = pick(ALL) " " pick(ALL) " " pick(ALL)
            if (below(2)) text = text " " pick(ALL)
        }
        else text = sentence()
        made += emit(text)
    }
}
