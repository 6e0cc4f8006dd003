# Good files of every kind, and some damaged versions of each, through every reader: none may crash or serve nonsense.
# The sanitised twin (make B=bin/san SAN=address,undefined check) sees what a plain run does not.
for target in nets safetensors shard source runlog convert tokens captions; do
    fuzz_$target -40 "$T"/files/good*
done
# libsndfile 1.2.0 leaks 5 KB for each Ogg file that it refuses.
ASAN_OPTIONS=detect_leaks=0 fuzz_media -40 "$T"/files/good*
