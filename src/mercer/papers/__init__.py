r'''Research papers, each with what it claims and what comes out when that is measured again.

A paper is one file, ``src/mercer/papers/pNN_slug.py``, found by its name; its metadata stand in ``catalog.json``. It
uses public names of mercer only and has this shape::

    """Title for people: what the page is about, in one line.

    The rest of the docstring is the text of the paper's page, in Markdown: what a reader gets, what came out, and
    what did not. Examples in it are run.
    """

    from mercer.learn import KernelRidge, SelfDistillation      # name by name: what is imported is what is hashed
    from mercer.papers import Effort, Paper, Quantity, Run, sabotage

    paper = Paper.from_catalog(22, see=[("Official code", "https://github.com/Kennethborup/self_distillation")])


    @paper.claim(
        "weight",
        says="The closed-form weight improves a badly regularised fit.",
        reported="accuracy 0.90 to 0.95",                 # the paper's own number, None where there is none
        where="figure 3",
        measures=Quantity("gain", "accuracy of round 6 minus the first fit's", at_least=0.03),
        controls=Quantity("tuned", "accuracy of round 6 minus tuned ridge's", at_least=0.0),
        rivals=Quantity("unclipped", "the same gain without clipping the weights"),
        quick=Effort(seeds=5, seconds=20),                # or a text: why it is not shown in quick
        full="needs CIFAR-10, see the claim 'networks'",  # an Effort, a text, or nothing: as quick
    )
    def weight(run: Run) -> None:
        for seed in run.seeds:                            # ends early when the budget of seconds is used up
            ...
            run.record(gain=gain, tuned=tuned, unclipped=unclipped)      # once a seed, all quantities
        run.table("rounds", rows, columns=["round", "accuracy"], caption="...")
        run.figure("path", lambda figure: path.plot_path(figure.subplots()), caption="...")
        run.figure("gain", curves([Curve(rounds, gains, "o-", "measured")], xlabel="round"), caption="...")


    paper.sabotage("shuffled labels", lambda: sabotage.shuffled_labels(SelfDistillation), breaks=["weight"])

``run.device``, ``run.is_full``, ``run.data_folder("CIFAR-10 as torchvision stores it")`` and ``run.note("...")`` are
there too; ``raise NotMeasured("needs a GPU")`` where something is missing. While writing, measure in a Python prompt:
``judge(claim, measure(claim, seeds=range(3)).values)``; bounds are tuned with seeds below 1000 and reported with those
from 1000 on.
'''

from mercer.papers import sabotage
from mercer.papers.catalog import Entry, catalog
from mercer.papers.claim import Claim, Effort, NotMeasured, Quantity, Verdict, judge
from mercer.papers.figures import Curve, curves
from mercer.papers.measurement import Measurement
from mercer.papers.measuring import Run, measure
from mercer.papers.paper import Paper

__all__ = [
    "Claim",
    "Curve",
    "Effort",
    "Entry",
    "Measurement",
    "NotMeasured",
    "Paper",
    "Quantity",
    "Run",
    "Verdict",
    "catalog",
    "curves",
    "judge",
    "measure",
    "sabotage",
]
