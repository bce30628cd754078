"""docindex as a part of other frameworks: a vector store of LangChain, and one of LlamaIndex."""
