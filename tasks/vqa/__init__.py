"""VQA: the adapter, heads that join question and picture, and the training recipe."""

from vlx.tasks.vqa.heads import BagOfWords, Concatenation, Product, QuestionLstm, StackedAttention
from vlx.tasks.vqa.vqa import CnnLstmVqa

__all__ = ["BagOfWords", "CnnLstmVqa", "Concatenation", "Product", "QuestionLstm", "StackedAttention"]
