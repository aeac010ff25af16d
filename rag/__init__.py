"""Documents in, cited answers out: parsing, chunking, embedding, retrieval and answering."""
