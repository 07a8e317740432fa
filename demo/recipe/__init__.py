"""How the checkpoint in `demo/checkpoint` was made, from nothing but espeak-ng: `python -m demo.recipe`.

    clips ─▶ speech tokenizer ─▶ flow ─▶ language model ─▶ export ─▶ evaluate
        └──▶ vocoder               (text-to-token, pre-training, fine-tuning)
        └──▶ judge

Data, losses and training heads are defined here; the models are the engine's own modules, and the engine's own writers
put them in the official formats. Every stage is resumable: it saves often, skips what is done, has a seed and a log
(`<work>/<stage>/log.jsonl`).
"""
