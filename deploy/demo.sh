#!/usr/bin/env bash
# The demo: ingest this project's own documentation, ask what it answers and what it does not.
# Needs `loam` on the PATH and LOAM_HOME. Fails unless the answer is cited and the refusal a refusal.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

answerable="Which addresses need an API key?"
unanswerable="Who won the chess world championship in 1972?"

loam ingest ./*.md {deploy,prompts,rag,services,tests}/README.md --store docs

printf '\n? %s\n' "$answerable"
answer=$(loam ask "$answerable" --store docs)
printf '%s\n' "$answer"
grep -q '^\[1\] ' <<<"$answer" || { echo "demo failed: the answer cites nothing" >&2; exit 1; }

printf '\n? %s\n' "$unanswerable"
refusal=$(loam ask "$unanswerable" --store docs)
printf '%s\n' "$refusal"
! grep -q '^\[1\] ' <<<"$refusal" || { echo "demo failed: it answered what it cannot know" >&2; exit 1; }

cat <<END

Serve the same documents through the OpenAI API:

  LOAM_HOME=$LOAM_HOME $(command -v loam) serve

and ask from another terminal:

  curl -s http://127.0.0.1:8000/v1/chat/completions -H 'content-type: application/json' -d '{
    "model": "default", "messages": [{"role": "user", "content": "$answerable"}],
    "file_search": {"vector_store_ids": ["$(loam stores show docs --json | sed -n 's/.*"id": "\(vs_[^"]*\)".*/\1/p')"]}}'
END
