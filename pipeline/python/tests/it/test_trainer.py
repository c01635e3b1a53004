"""Hugging Face's Trainer fine-tunes a tiny VisionEncoderDecoderModel from the stream."""

import os
import pathlib
import tempfile
import unittest

import torch
from torch.utils.data import DataLoader
from transformers import (
    GPT2Config,
    Trainer,
    TrainingArguments,
    ViTConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    set_seed,
)

import tuwen
from tuwen.huggingface import Collator, StreamTrainer

CORPUS = pathlib.Path(os.environ["SHARED_FOLDER"]) / "corpus"
STEPS = 50

# The model is too small for more, and other tests want the cores.
torch.set_num_threads(1)


def model():
    set_seed(0)
    encoder = ViTConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8
    )
    decoder = GPT2Config(vocab_size=512, n_embd=32, n_layer=1, n_head=2, n_positions=128, bos_token_id=2, eos_token_id=3)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id = 2, 0
    return VisionEncoderDecoderModel(config)


def arguments(folder, **more):
    return TrainingArguments(
        output_dir=folder, max_steps=STEPS, learning_rate=3e-3, report_to=[], save_strategy="no", use_cpu=True, logging_steps=10, **more
    )


class HuggingFace(unittest.TestCase):
    def check(self, trainer):
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        self.assertEqual(trainer.state.global_step, STEPS)
        self.assertEqual(len(losses), STEPS // 10)
        self.assertLess(losses[-1], 0.7 * losses[0], losses)
        return losses

    def test_the_trainer_of_ours_and_the_unchanged_one_learn_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            ours = StreamTrainer(model=model(), args=arguments(folder), train_dataset=tuwen.Stream(CORPUS, batch_size=16))
            losses = self.check(ours)
            unchanged = Trainer(
                model=model(),
                args=arguments(folder, per_device_train_batch_size=1),
                train_dataset=tuwen.Stream(CORPUS, batch_size=16),
                data_collator=Collator(),
            )
            for a, b in zip(losses, self.check(unchanged), strict=True):
                self.assertAlmostEqual(a, b, places=3)

    def test_a_run_goes_on_in_the_middle_of_a_later_epoch(self):
        class Seen(StreamTrainer):
            def _prepare_inputs(self, inputs):
                self.seen.append(inputs["example_ids"])
                return super()._prepare_inputs(inputs)

        def train(folder, checkpoint=None):
            options = arguments(folder, gradient_accumulation_steps=2)
            # 17 batches an epoch are 9 steps: 13 are one epoch and 4 steps of the next.
            options.max_steps, options.save_strategy, options.save_steps = 20, "steps", 13
            trainer = Seen(model=model(), args=options, train_dataset=tuwen.Stream(CORPUS, batch_size=16))
            trainer.seen = []
            trainer.train(resume_from_checkpoint=checkpoint)
            return trainer.seen

        with tempfile.TemporaryDirectory() as folder:
            whole = train(folder)
            self.assertEqual(len(whole), 2 * 17 + 4)
            self.assertEqual(train(folder, f"{folder}/checkpoint-13"), whole[17 + 8 :])

    def test_several_streams_are_evaluated_and_one_is_predicted(self):
        streams = {split: tuwen.Stream(CORPUS, split, batch_size=16) for split in ("train", "test")}
        with tempfile.TemporaryDirectory() as folder:
            trainer = StreamTrainer(model=model(), args=arguments(folder), eval_dataset=streams)
            self.assertLessEqual({"eval_train_loss", "eval_test_loss"}, set(trainer.evaluate()))
            self.assertIn("other_loss", trainer.evaluate(streams["test"], metric_key_prefix="other"))
            # The decoder's cache is no tensor.
            predicted = trainer.predict(streams["test"], ignore_keys=["past_key_values"])
        self.assertEqual(len(predicted.label_ids), streams["test"].n_examples)
        self.assertIn("test_loss", predicted.metrics)

    def test_a_loop_of_ones_own(self):
        captioner = model()
        optimizer = torch.optim.AdamW(captioner.parameters(), lr=3e-3)
        losses = []
        for batch in DataLoader(tuwen.Stream(CORPUS, batch_size=16), batch_size=None):
            loss = captioner(pixel_values=tuwen.normalise(batch["pixel_values"]), labels=batch["labels"]).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        self.assertLess(losses[-1], losses[0])


if __name__ == "__main__":
    unittest.main()
