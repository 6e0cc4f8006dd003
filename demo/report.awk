# SPDX-License-Identifier: MIT
# The demo's table from the facts of report.sh.

{ kind = $1 }
kind == "rates" { rates = substr($0, 7) }
kind == "size" { size[$2, $3] = $4 }
kind == "run" { rate[$2] = $3; seeds = $2 == "dense" ? seeds + 1 : seeds; n_steps = $5 }
kind == "cost" { flops[$2] = $3; seconds[$2] += $4 }
kind == "score" { # ARCH SEED MODALITY TOKENS NLL
    n_scored[$4] = $5
    loss[$2, $4, seeds] = $6
}
kind == "match" { # LOSS SEED MODALITY STEPS LO HI FLOPS LO HI SECONDS LO HI FINAL REACHED DENSE_LOSS OTHER_LOSS
    k = $2 SUBSEP $4
    i = ++n_matched[k]
    slope[k, i] = $5 == "-" ? "- *" : sprintf("%.2f [%.2f, %.2f]%s", $5, $6, $7, $15 < 1 ? " *" : "")
    part += $15 < 1
    end[k, i] = $14 == "-" ? "-" : sprintf("%.2f", $14)
    faster[k] += $14 != "-" && $7 < 1
    slower[k] += $14 == "-" || $6 > 1
}
kind == "chance" { # dense of a further seed against dense of the first: SEED MODALITY STEPS ...
    chance = chance sprintf("%s%s %s", chance == "" ? "" : ", ", $3, $4 == "-" ? "-" : sprintf("%.2f", $4))
}
kind == "quality" { side = $2; psnr = $3; length_s = $4; distance = $5 }
kind == "tokens" { n_tokens[$2] = $5; n_bytes[$2] = $6 }
kind == "same" { same = 1 }

function mean(arch, m,    i, s) {
    for (i = 1; i <= seeds; i++)
        s += loss[arch, m, i]
    return s / seeds
}

function spread(arch, m,    i, lo, hi, x) {
    lo = hi = loss[arch, m, 1]
    for (i = 2; i <= seeds; i++) {
        x = loss[arch, m, i]
        lo = x < lo ? x : lo
        hi = x > hi ? x : hi
    }
    return (hi - lo) / 2
}

# Who is ahead in every seed.
function ahead(m,    i, won) {
    for (i = 1; i <= seeds; i++)
        won += loss["mot", m, i] < loss["dense", m, i]
    return won == seeds ? "MoT ahead" : won == 0 ? "dense ahead" : "even: the seeds disagree"
}

function thousands(x,    s) {
    for (x = sprintf("%.0f", x); length(x) > 3; x = substr(x, 1, length(x) - 3))
        s = "," substr(x, length(x) - 2) s
    return x s
}

function scores(m) {
    printf "  %-8s%9s    %.3f +-%.3f    %.3f +-%.3f    %+.3f  %s\n", m, thousands(n_scored[m]), mean("dense", m),
           spread("dense", m), mean("mot", m), spread("mot", m), mean("mot", m) - mean("dense", m), ahead(m)
}

# What all seeds say about steps.
function verdict(k) {
    if (faster[k] == seeds)
        return "MoT faster"
    if (slower[k] == seeds)
        return "DENSE AHEAD"
    return faster[k] && slower[k] ? "the seeds disagree" : "undecided"
}

function matches(loss, name, m,    i, k) {
    k = loss SUBSEP m
    printf "  %-12s%-8s", name, m
    for (i = 1; i <= seeds; i++)
        printf "%-22s%5s   ", slope[k, i], end[k, i]
    print verdict(k)
}

END {
    split("text image speech all", modality, " ")

    print "\nVALIDATION LOSS after " thousands(n_steps) " steps, nats a token; mean of " seeds " seeds, +- half of what they differ by"
    print "            tokens    dense           MoT             MoT - dense"
    for (i = 1; i <= 4; i++)
        scores(modality[i])
    printf "  Both cost %.2f MFLOP a token; %s parameters in dense, %s in MoT, of them %s in embedding and head.\n",
           flops["mot"] / n_steps / 4096 / 1e6, thousands(size["dense", "params_total"]),
           thousands(size["mot", "params_total"]), thousands(size["dense", "params_embedding"])
    if (flops["mot"] != flops["dense"])
        printf "  But FLOPs differ: dense %s, MoT %s.\n", flops["dense"], flops["mot"]
    printf "  Learning rate: dense %s, MoT %s, each its best on dev of %s.  Seconds a run: dense %.0f, MoT %.0f.\n", rate["dense"],
           rate["mot"], rates, seconds["dense"] / seeds, seconds["mot"] / seeds

    print "\nTHROUGH THE TOKENIZER AND BACK: files in " out "/samples"
    printf "  picture   %dx%d pixels in %d tokens: %.1f dB PSNR (image-square.png, image-after.png)\n", side, side,
           n_tokens["image"], psnr
    printf "  sentence  %d bytes in %d tokens: %s\n", n_bytes["text"], n_tokens["text"],
           same ? "byte for byte the same" : "NOT THE SAME"
    printf "  sound     %.1f s in %d tokens: %.1f dB log-spectral distance (speech-before.ogg, speech-after.wav)\n", length_s,
           n_tokens["speech"], distance
    print "\nSTEPS MoT NEEDS FOR DENSE'S LOSSES, as a share of dense's: slope [95 % interval], and at dense's lowest loss"
    printf "  loss        of      "
    for (i = 1; i <= seeds; i++)
        printf "%-22s%5s   ", "seed " i ": slope", "end"
    print ""
    for (i = 1; i <= 4; i++)
        matches("val", "validation", modality[i])
    for (i = 1; i <= 4; i++)
        matches("train", "training", modality[i])
    print "  Below 1 MoT is faster; - it never has that loss" (part ? "; * its slope is over the losses it has, and flatters." : ".")
    print "  Intervals know one pair of runs, not how seeds differ.  Dense of another seed needs, of dense's steps in training:\n  " chance
    print "  Picture, with dense of another seed to compare with: " out "/match.svg, " out "/match.png"
}
