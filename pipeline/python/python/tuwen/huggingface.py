"""A stream for Hugging Face's `Trainer`. In: a `tuwen.Stream`. Out: batches as a `VisionEncoderDecoderModel` takes them."""

import torch
import transformers
from torch.utils.data import DataLoader

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

    def get_train_dataloader(self):
        return StreamLoader(self.train_dataset)

    def get_eval_dataloader(self, eval_dataset=None):
        return StreamLoader(self.eval_dataset if eval_dataset is None else eval_dataset)

    def _prepare_inputs(self, inputs):
        inputs = super()._prepare_inputs({name: inputs[name] for name in INPUTS})
        inputs["pixel_values"] = normalise(inputs["pixel_values"], self.processing_class)
        return inputs


class StreamLoader(DataLoader):
    """Batches as the stream makes them. The trainer says which epoch it is."""

    def __init__(self, stream):
        super().__init__(stream, batch_size=None)

    def set_epoch(self, epoch):
        self.dataset.set_epoch(epoch)


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
