"""Lines of Python's own sources: which are comments?"""

import sysconfig
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch.utils.data import Dataset
from transformers import DataCollatorWithPadding, PreTrainedTokenizerFast


def lines(files):
    """Each line without `#`, and whether it was a comment."""
    for name in files:
        for line in (Path(sysconfig.get_path("stdlib")) / name).read_text(encoding="utf-8").splitlines():
            if text := line.strip().lstrip("# "):
                yield text, int(line.strip().startswith("#"))


def tokenizer_for(texts, vocabulary):
    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(vocab_size=vocabulary, special_tokens=["[PAD]", "[UNK]"], show_progress=False)
    words.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")


class Tokenized(Dataset):
    """Token numbers of different lengths, with a label."""

    def __init__(self, samples, tokenizer):
        self.samples, self.tokenizer = samples, tokenizer

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        text, label = self.samples[index]
        return {**self.tokenizer(text, truncation=True, max_length=32), "labels": label}


class Lines:
    num_classes = 2

    def __init__(self, train, val, test, vocabulary=500):
        parts = [list(lines(files)) for files in (train, val, test)]
        self.tokenizer = tokenizer_for([text for text, _ in parts[0]], vocabulary)
        self.train, self.val, self.test = (Tokenized(part, self.tokenizer) for part in parts)
        self.collate = DataCollatorWithPadding(self.tokenizer)

    def identity(self):
        return {"classes": ["code", "comment"], "words": sorted(self.tokenizer.get_vocab())}
