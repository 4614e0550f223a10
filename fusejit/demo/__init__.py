"""`python -m fusejit demo`: a character-level LSTM, written as a user of fusejit would write it.

    text        a text as minibatches of truncated sequences
    model       the cell, by hand, and the loss over a sequence
    train       the training loop
    report      a sample of generated text, and what fusing bought

Only public names of fusejit are used, so any of it can be copied.
"""
