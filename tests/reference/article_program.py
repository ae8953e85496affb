"""The article's program as one would have written it in 2018, for TensorFlow 1. docs/porting.md ports it.

The project's own version is `legacy_script.py`. Tests run this one on TensorFlow 1, and ported on TensorFlow 2.
"""

import os

import cv2
import numpy as np
import tensorflow as tf
from tensorflow.keras import backend as K
from tensorflow.keras.applications import VGG19
from tensorflow.keras.layers import MaxPooling2D

CONTENT_IMG_PATH = "./input/cat.jpg"
STYLE_IMG_PATH = "./input/starry_night.jpg"
GENERATED_IMG_PATH = "./output/generated_img.jpg"
IMG_SIZE = (400, 300)
NUM_COLOR_CHANNELS = 3
ALPHA = 10
BETA = 40
NOISE_RATIO = 0.6
CONTENT_LAYER_INDEX = 13
STYLE_LAYER_INDICES = [1, 4, 7, 12, 17]
STYLE_LAYER_COEFFICIENTS = [0.2, 0.2, 0.2, 0.2, 0.2]
NUM_ITERATIONS = 500
LEARNING_RATE = 2
VGG_IMAGENET_MEANS = np.array([103.939, 116.779, 123.68]).reshape((1, 1, 3))  # In blue-green-red order
LOG_GRAPH = True


def load_img(path, size, color_means):
    img = cv2.resize(cv2.imread(path), dsize=size, interpolation=cv2.INTER_CUBIC).astype("float32")
    return np.expand_dims((img - color_means).astype("float32"), axis=0)


def save_img(img, path, color_means):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    cv2.imwrite(path, np.clip(img + color_means, 0, 255).astype("uint8"))


def create_noisy_img(img, noise_ratio):
    noise = np.random.uniform(-20, 20, img.shape).astype("float32")
    return noise_ratio * noise + (1 - noise_ratio) * img


def content_cost(a_c, a_g):
    _, n_h, n_w, n_c = a_c.shape
    return (1 / (4 * n_h * n_w * n_c)) * tf.reduce_sum(tf.square(tf.subtract(a_c, a_g)))


def style_cost(a_s_layers, a_g_layers, style_layer_coefficients):
    cost = 0
    for a_s, a_g, coefficient in zip(a_s_layers, a_g_layers, style_layer_coefficients):
        _, n_h, n_w, n_c = a_s.shape
        a_s_unrolled = tf.reshape(tf.transpose(a_s), [n_c, n_h * n_w])
        a_s_gram = tf.matmul(a_s_unrolled, tf.transpose(a_s_unrolled))
        a_g_unrolled = tf.reshape(tf.transpose(a_g), [n_c, n_h * n_w])
        a_g_gram = tf.matmul(a_g_unrolled, tf.transpose(a_g_unrolled))
        scale = 1 / (4 * n_c**2 * (n_w * n_h) ** 2)
        cost += scale * tf.reduce_sum(tf.square(tf.subtract(a_s_gram, a_g_gram))) * coefficient
    return cost


def total_cost(content_cost, style_cost, alpha, beta):
    return alpha * content_cost + beta * style_cost


def create_output_tensors(input_variable, content_layer_index, style_layer_indices):
    vgg_model = VGG19(weights="imagenet", include_top=False)
    x, outputs = input_variable, {}
    for i, layer in enumerate(vgg_model.layers):
        if i == 0:
            continue
        if type(layer) == MaxPooling2D:  # noqa: E721 - as in the article
            x = tf.nn.avg_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
        else:
            x = layer(x)
        outputs[i] = x
    return outputs[content_layer_index], [outputs[i] for i in style_layer_indices]


content_img = load_img(CONTENT_IMG_PATH, IMG_SIZE, VGG_IMAGENET_MEANS)
style_img = load_img(STYLE_IMG_PATH, IMG_SIZE, VGG_IMAGENET_MEANS)
generated_img_init = create_noisy_img(content_img, NOISE_RATIO)

input_var = tf.Variable(
    content_img, dtype=tf.float32, expected_shape=(None, None, None, NUM_COLOR_CHANNELS), name="input_var"
)
x_content, x_styles = create_output_tensors(input_var, CONTENT_LAYER_INDEX, STYLE_LAYER_INDICES)
optimizer = tf.train.AdamOptimizer(LEARNING_RATE)

# Use the Keras session instead of creating a new one
with K.get_session() as sess:
    sess.run(tf.variables_initializer([input_var]))

    a_content = sess.run(x_content, feed_dict={K.learning_phase(): 0})
    sess.run(input_var.assign(style_img))
    a_styles = sess.run(x_styles, feed_dict={K.learning_phase(): 0})

    J_content = content_cost(a_content, x_content)
    J_style = style_cost(a_styles, x_styles, STYLE_LAYER_COEFFICIENTS)
    J_total = total_cost(J_content, J_style, ALPHA, BETA)

    # To display use "tensorboard --logdir=log".
    if LOG_GRAPH:
        writer = tf.summary.FileWriter("log", sess.graph)

    sess.run(input_var.assign(generated_img_init))
    train_op = optimizer.minimize(J_total, var_list=[input_var])
    sess.run(tf.variables_initializer(optimizer.variables()))

    for i in range(NUM_ITERATIONS):
        sess.run(train_op)
        if (i % 20) == 0:
            costs = sess.run(J_content), sess.run(J_style), sess.run(J_total)
            print("Iteration: {}, Content cost: {:.2e}, Style cost: {:.2e}, Total cost: {:.2e}".format(i, *costs))
            save_img(sess.run(input_var)[0], GENERATED_IMG_PATH, VGG_IMAGENET_MEANS)

    save_img(sess.run(input_var)[0], GENERATED_IMG_PATH, VGG_IMAGENET_MEANS)
