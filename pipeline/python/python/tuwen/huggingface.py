"""A stream for Hugging Face's `Trainer`. In: a `tuwen.Stream`. Out: batches as a `VisionEncoderDecoderModel` takes them."""

import itertools

import torch
import transformers
from torch.utils.data import DataLoader, IterableDataset

from tuwen._normalise import normalise
from tuwen._tuwen import TuwenError

# What the model is given of a batch. Its decoder makes a mask of the labels itself.
INPUTS = ("pixel_values", "labels")


class StreamTrainer(transformers.Trainer):
    """transformers' `Trainer` whose `train_dataset` (and `eval_dataset`) is a `tuwen.Stream`, on any number of processes.

        trainer = StreamTrainer(model=model, args=arguments, train_dataset=tuwen.Stream("corpus", batch_size=64))
        trainer.train()

    The stream's batch size counts, not `per_device_train_batch_size`, and each process has the stream's share of its rank. Pixels
    go to the device as u8 and are normalised there, as the image processor `processing_class` says, if one is given.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.add_callback(Resume)

    def get_train_dataloader(self):
        return StreamLoader(self.train_dataset)

    def get_eval_dataloader(self, eval_dataset=None):
        if eval_dataset is None:
            eval_dataset = self.eval_dataset
        elif isinstance(eval_dataset, str):
            eval_dataset = self.eval_dataset[eval_dataset]
        return StreamLoader(eval_dataset)

    def get_test_dataloader(self, test_dataset):
        return StreamLoader(test_dataset)

    def _prepare_inputs(self, inputs):
        inputs = super()._prepare_inputs({name: inputs[name] for name in INPUTS})
        inputs["pixel_values"] = normalise(inputs["pixel_values"], self.processing_class)
        return inputs


class StreamLoader(DataLoader):
    """Batches as the stream makes them. The trainer says which epoch it is."""

    def __init__(self, stream):
        super().__init__(Rest(stream), batch_size=None)

    def set_epoch(self, epoch):
        self.dataset.stream.set_epoch(epoch)


class Rest(IterableDataset):
    """A stream, of which the trainer drops the batches that a resumed run has had: they are not read, and None stands for each."""

    def __init__(self, stream):
        self.stream, self.n_had = stream, 0

    def __len__(self):
        return len(self.stream)

    def __iter__(self):
        n_had, self.n_had = self.n_had, 0
        return itertools.chain(itertools.repeat(None, n_had), self.stream)

    def resume(self, epoch, n_had):
        """The next iteration is `epoch`, of which the trainer drops `n_had` batches."""
        self.n_had = n_had
        self.stream._resume(epoch, n_had)


class Resume(transformers.TrainerCallback):
    """Places the stream where a run is resumed in the middle of an epoch. The trainer only knows to read the batches that it had, and what
    it does so with cannot be told of which epoch."""

    def on_train_begin(self, args, state, control, train_dataloader=None, **others):
        steps_per_epoch = max(-(-len(train_dataloader) // args.gradient_accumulation_steps), 1)
        epoch, steps = divmod(state.global_step, steps_per_epoch)
        if steps and not args.ignore_data_skip:
            train_dataloader.dataset.resume(epoch, steps * args.gradient_accumulation_steps)


class Collator:
    """`data_collator` for the unchanged `Trainer`, on one process, with `per_device_train_batch_size=1`: one batch of the stream is a
    batch of the trainer, its pixels normalised."""

    def __init__(self, model=None):
        self.model = model

    def __call__(self, batches):
        if torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            raise TuwenError("the Trainer would divide the batches of each rank once more; hint: tuwen.huggingface.StreamTrainer")
        if len(batches) != 1:
            raise TuwenError(f"expected per_device_train_batch_size=1, since a stream gives whole batches, found {len(batches)}")
        batch = batches[0]
        return {**{name: batch[name] for name in INPUTS}, "pixel_values": normalise(batch["pixel_values"], self.model)}
