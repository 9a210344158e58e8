from gensim.models import KeyedVectors, Word2Vec
from gensim.test.utils import common_texts, datapath

vectors = KeyedVectors.load_word2vec_format(datapath("word2vec_pre_kv_c"), binary=False)
print(len(vectors), len(common_texts))
model = Word2Vec(common_texts, vector_size=4, min_count=1, workers=1, seed=1, epochs=1)
print(len(model.wv))
