"""Trains the model that stands behind the verdict rules, from the output of `accuracy TABLE --rows`, and writes it.

    train.py OUT ROWS [OWN_ROWS...]

Only tokens (words' stems, pairs and parts of them, codes) that occur in at least two source projects get in, so no reply can be read out of it.
Every further table counts as two sources: its rows are our own wording, with odd and even rows apart."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import learn


def read(paths):
    return learn.read_table(paths[0]) + learn.own_rows(paths[1:])


def write(path, model):
    lines = ["remuda-model 1", f"margin {learn.MARGIN}", f"costly {learn.COSTLY}", "class " + " ".join(learn.CLASSES)]
    for token in sorted(model):
        lines.append(token + "\t" + " ".join(f"{c}:{w}" for c, w in sorted(model[token].items())))
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


def main():
    rows = read(sys.argv[2:])
    model = learn.to_integers(learn.train(rows, learn.shared_tokens(rows)))
    write(sys.argv[1], model)
    print(f"{len(rows)} replies, {len(model)} tokens, {sum(map(len, model.values()))} weights, {os.path.getsize(sys.argv[1])} bytes")


if __name__ == "__main__":
    main()
