"""CNN+LSTM captioners: the adapter, decoders for the three ways a picture enters, and the training recipe."""

from vlx.tasks.captioning.captioner import CnnLstmCaptioner
from vlx.tasks.captioning.decoders import Attention, PictureAsState, PictureFirst
from vlx.tasks.captioning.decoding import gru_step, lstm_step, rnn_step

__all__ = [
    "Attention",
    "CnnLstmCaptioner",
    "PictureAsState",
    "PictureFirst",
    "gru_step",
    "lstm_step",
    "rnn_step",
]
