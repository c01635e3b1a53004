"""A PyTorch training step fed in one of four ways, for `train_python.py`: the loop is the same, only where its batches come from is not.

In: the raw file of pixels, `--feed`, and the corpus that holds the same pixels. Out: as the last line one JSON object: `images_per_s`
and `wait_percent`, the share of the time in which the step waited for a batch. The step is that of the seed (ViT encoder, GPT-2
decoder, labels of 16 tokens, AdamW), with a model shrunk until feeding it is the work; pixels are normalised in it, but for the
seed's own loader, which does that. `none` feeds one batch again and again: what the step alone can do.
"""
import importlib.metadata
import itertools
import time

import peer

TOKENS, VOCAB = 16, 1000


def seed(args):
    import seed_loader

    whole = seed_loader.loader(args)
    return f"datasets {importlib.metadata.version('datasets')}", lambda: (pixels for _, pixels, _ in whole)


def memmap(args):
    import torch_dataloader

    whole = torch_dataloader.loader(args)
    return f"torch {importlib.metadata.version('torch')}", lambda: (pixels for _, pixels in whole)


def ffcv(args):
    import ffcv_loader

    whole = ffcv_loader.loader(args, "raw")
    return f"ffcv {importlib.metadata.version('ffcv')}", lambda: (torch.from_numpy(pixels) for pixels, _ in whole)


def tuwen(args):
    import tuwen

    stream = tuwen.Stream(args.corpus, batch_size=args.batch_size, readers=args.workers, verify=False)
    return f"tuwen {tuwen.__version__}", lambda: (batch["pixel_values"] for batch in stream)


def none(args):
    batch = torch.from_numpy(args.pixels[: args.batch_size].copy())
    return "", lambda: itertools.repeat(batch, args.n // args.batch_size)


FEEDS = {feed.__name__: feed for feed in (seed, memmap, ffcv, tuwen, none)}


def model(size_px):
    from transformers import GPT2Config, ViTConfig, VisionEncoderDecoderConfig, VisionEncoderDecoderModel

    torch.manual_seed(0)
    encoder = ViTConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=2, intermediate_size=128, image_size=size_px, patch_size=56)
    decoder = GPT2Config(vocab_size=VOCAB, n_embd=64, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    return VisionEncoderDecoderModel(config)


def main():
    more = [
        ("--feed", {"choices": FEEDS, "required": True}),
        ("--corpus", {"help": "the corpus with the pixels of the raw file"}),
        ("--steps", {"type": int, "default": 200, "help": "timed steps, after a tenth as many"}),
    ]
    args = peer.arguments(__doc__, more)
    version, epoch = FEEDS[args.feed](args)
    batches = itertools.chain.from_iterable(epoch() for _ in itertools.count())
    captioner = model(args.size_px).train()
    optimizer = torch.optim.AdamW(captioner.parameters(), lr=5e-5, fused=True)
    labels = torch.randint(3, VOCAB, (args.batch_size, TOKENS), generator=torch.Generator().manual_seed(0))
    waited = images = 0
    warm_up = max(args.steps // 10, 2)
    for step in range(warm_up + args.steps):
        if step == warm_up:
            begun, waited, images = time.perf_counter(), 0.0, 0
        asked = time.perf_counter()
        pixels = next(batches)
        waited += time.perf_counter() - asked
        if pixels.dtype == torch.uint8:
            pixels = pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        loss = captioner(pixel_values=pixels, labels=labels[: len(pixels)]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        images += len(pixels)
    seconds = time.perf_counter() - begun
    peer.report([images / seconds], version, wait_percent=round(100 * waited / seconds, 2), feed=args.feed)


if __name__ == "__main__":
    peer.no_network()
    import torch

    main()
