"""What an answer owes to each word of the question: without the word, and by gradient."""

from dataclasses import replace

from vlx.explanation.records import QuestionWord
from vlx.methods import engine
from vlx.protocol.powers import powers_of
from vlx.protocol.targets import Target
from vlx.protocol.task import Features, Task


def question_words(
    task: Task, features: Features, question: str, target: Target, likely: Target | None = None
) -> tuple[QuestionWord, ...]:
    """Each word of the question with what the log-probability loses without it, in nats.

    The log-probability is that of ``likely``, by default of ``target``, whose gradient is taken.

    All shortened questions are asked in one batch about A [1, K, h, w] of ``features``. Gradient × embedding, in the
    unit of the target, is None where the model does not tell its embedding. Empty for a question that has no words for
    the model, such as a vector, and for a task that does not tell them (`vlx.protocol.powers.Hears`).
    """
    asked = replace(likely or target, row=0, kind="logprob")
    hears = powers_of(task).hears
    parts = [] if hears is None else hears.shortened(question, asked.tokens)
    if hears is None or not parts:
        return ()
    words, shorter = zip(*parts, strict=True)
    rows = [asked, *(replace(asked, tokens=tokens) for tokens in shorter)]
    whole, *without = engine.ask(task, features, rows).float().tolist()
    gradients = hears.question_gradients(features.A, replace(target, row=0), features.rest)
    slopes = [None] * len(words) if gradients is None else gradients.float().tolist()
    return tuple(
        QuestionWord(word, whole - left, slope) for word, left, slope in zip(words, without, slopes, strict=True)
    )
