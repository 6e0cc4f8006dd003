# The examples of the manuals work as written: each line "$ command" in a literal display below EXAMPLES, page by page, in a
# folder of its own with the inputs that the examples speak of.
examples() { # PAGE: its commands; roff's escapes of - and \ undone
    awk '/^\.Sh /   { on = $2 == "EXAMPLES" }
         on && /^\$ / { sub(/^\$ /, ""); gsub(/\\-/, "-"); gsub(/\\e/, "\\"); print }' "$1"
}
for page in "$MAN"/*.1; do
    name=$(basename "$page" .1)
    mkdir "$name"
    cp -r "$T/files/samples" "$name/samples"
    cat "$MAN"/* | tr -d "." > "$name/notes.txt"
    examples "$page" > "$name.sh"
    [ -s "$name.sh" ] || { echo "$name.1: no examples" >&2; exit 1; }
    (cd "$name" && bash -euo pipefail "../$name.sh" > ../out 2> ../err) || {
        echo "$name.1: an example fails" >&2
        (cd "$name" && bash -xeuo pipefail "../$name.sh" 2>&1 | tail -n 5 >&2) || true
        cat err >&2
        exit 1
    }
done
